// Attention inside patches by tensor cores: a block computes 64 queries of one head, a warp 16 of them, over tiles of
// 64 keys and values that it copies into shared memory one ahead. Scores and weights stay in registers.
//
// A row's result depends on nothing but its patch: tiles begin where the patch begins, and sums have a fixed order.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

#include "attention/instructions.cuh"
#include "attention/patch_tile.cuh"
#include "attention/relative_bias.cuh"

namespace sparseops::gpu {
namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps;
constexpr int kRows = 16 * kWarps;  // queries of a block
constexpr int kKeys = 64;           // of a tile
static_assert(kRows <= kMaxTileRows);

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
template <typename Element>
constexpr bool kMultiplies = std::is_same_v<Element, __half>;
#else
template <typename Element>
constexpr bool kMultiplies = true;
#endif

template <typename Element>
__device__ __forceinline__ uint32_t packed(float low, float high) {
  if constexpr (std::is_same_v<Element, __half>) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
}

// Rows of kDim elements in shared memory, in chunks of 16 bytes that change places so that no two of 8 rows share
// banks.
template <int kDim>
struct Rows {
  static constexpr int kChunks = kDim / 8, kElements = kKeys * kDim;
  static_assert(kChunks <= 8);
  static __device__ __forceinline__ int at(int row, int chunk) {
    return row * kDim + (chunk ^ row / (8 / kChunks) % kChunks) * 8;
  }
};

// Copies `count` rows of `dim` elements, `stride` apart, zeros for those after them; asynchronously if dim is even.
template <int kDim>
__device__ __forceinline__ void copy_rows(uint16_t* shared, const uint16_t* global, int count, int64_t stride,
                                          int dim) {
  using R = Rows<kDim>;
  const int thread = static_cast<int>(threadIdx.x);
  if (dim % 8 == 0) {
    for (int i = thread; i < kKeys * R::kChunks; i += kThreads) {
      const int row = i / R::kChunks, chunk = i % R::kChunks;
      const bool present = row < count;
      if (chunk * 8 < dim)
        copy16(shared + R::at(row, chunk), global + (present ? row : 0) * stride + chunk * 8, present);
    }
    return;
  }
  for (int row = thread / 4; row < kKeys; row += kThreads / 4) {
    const bool present = row < count;
    const uint16_t* from = global + (present ? row : 0) * stride;
    if (dim % 2 == 0) {
      for (int d = thread % 4 * 2; d < dim; d += 8) copy4(shared + R::at(row, d / 8) + d % 8, from + d, present);
    } else {
      for (int d = thread % 4; d < dim; d += 4) shared[R::at(row, d / 8) + d % 8] = present ? from[d] : 0;
    }
  }
}

// Elements d and d + 1 of a row, zeros from `dim` on.
__device__ __forceinline__ uint32_t pair_of(const uint16_t* row, int d, int dim) {
  return (d < dim ? row[d] : 0u) | (d + 1 < dim ? row[d + 1] : 0u) << 16;
}

template <typename Element, int kDim, bool kBiased>
__device__ void attend_tile(const AttentionArguments& arguments) {
  using R = Rows<kDim>;
  const PatchTile tile = find_tile<kRows>(arguments);
  if (tile.first >= tile.end) return;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int dim = arguments.dim, width = arguments.heads * dim;
  const int64_t stride = 3 * static_cast<int64_t>(width);
  const auto* head = static_cast<const uint16_t*>(arguments.qkv) + static_cast<int>(blockIdx.y) * dim;
  const uint16_t* keys_from = head + tile.begin * stride + width;
  auto* keys = reinterpret_cast<uint16_t*>(dynamic_shared());  // two tiles, then two of values
  uint16_t* values = keys + 2 * R::kElements;
  const int length = tile.end - tile.begin;
  const RelativeBias<kKeys> bias{arguments, reinterpret_cast<float*>(values + 2 * R::kElements)};
  const auto copy_tile = [&](int first, int stage) {
    const uint16_t* from = keys_from + first * stride;
    copy_rows<kDim>(keys + stage * R::kElements, from, length - first, stride, dim);
    copy_rows<kDim>(values + stage * R::kElements, from + width, length - first, stride, dim);
    if (kBiased) bias.copy_voxels(stage, tile.begin + first, length - first, thread, kThreads);
    copies_commit();
  };
  if (dim < kDim) {  // columns that no copy fills
    for (int i = thread; i < 4 * kKeys * R::kChunks; i += kThreads) {
      reinterpret_cast<uint4*>(keys)[i] = make_uint4(0, 0, 0, 0);
    }
    __syncthreads();
  }
  copy_tile(0, 0);
  if (kBiased) bias.copy_table(static_cast<int>(blockIdx.y), thread, kThreads);

  const int first_row = tile.first + warp * 16, row = first_row + lane / 4;  // and row + 8
  // sums are largest where scores are, whatever the sign of the scale: queries take it
  const float factor = max(fabsf(arguments.scale) * kLog2E, 1e-37f);
  const float left = kBiased ? 1 : factor;  // of it, once there are scores
  const uint32_t sign = arguments.scale < 0 ? 0x80008000u : 0;
  uint32_t query[kDim / 16][4];
#pragma unroll
  for (int k = 0; k < kDim / 16; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int own = row + i % 2 * 8, d = k * 16 + i / 2 * 8 + lane % 4 * 2;
      query[k][i] = own < tile.end ? pair_of(head + own * stride, d, dim) ^ sign : 0;
    }
  }
  int place[2][3] = {};
  if (kBiased) {
#pragma unroll
    for (int i = 0; i < 6; ++i) {
      place[i / 3][i % 3] = arguments.voxels[static_cast<int64_t>(min(row + i / 3 * 8, tile.end - 1)) * 3 + i % 3];
    }
  }
  const uint32_t ones = packed<Element>(1, 1);
  float out[kDim / 8][4] = {}, totals[4] = {};  // totals are the products of the weights and ones
  float highest[2] = {-INFINITY, -INFINITY};    // of the scores times factor, of row and row + 8

  for (int first = 0, stage = 0; first < length; first += kKeys, stage ^= 1) {
    copies_wait<0>();
    __syncthreads();
    if (first + kKeys < length) copy_tile(first + kKeys, stage ^ 1);
    if (first_row >= tile.end) continue;
    const uint16_t* own_keys = keys + stage * R::kElements;
    const uint16_t* own_values = values + stage * R::kElements;

    float scores[kKeys / 8][4] = {};
#pragma unroll
    for (int block = 0; block < kKeys / 16; ++block) {
#pragma unroll
      for (int k = 0; k < kDim / 16; ++k) {
        uint32_t parts[4];
        load_matrices(parts, own_keys + R::at(block * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
        multiply_add<Element>(scores[2 * block], query[k], parts[0], parts[1]);
        multiply_add<Element>(scores[2 * block + 1], query[k], parts[2], parts[3]);
      }
    }
    if (kBiased) {
#pragma unroll
      for (int i = 0; i < kKeys / 2; ++i) {
        const float own = bias.of(place[i / 2 % 2], stage, i / 4 * 8 + lane % 4 * 2 + i % 2);
        scores[i / 4][i % 4] = fmaf(scores[i / 4][i % 4], factor, own);
      }
    }
    if (length - first < kKeys) {
#pragma unroll
      for (int i = 0; i < kKeys / 2; ++i) {
        const int key = first + i / 4 * 8 + lane % 4 * 2 + i % 2;
        if (key >= length) scores[i / 4][i % 4] = -INFINITY;
      }
    }

    float high[2];
    bool outgrown = false;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      high[half] = max(scores[0][2 * half], scores[0][2 * half + 1]);
#pragma unroll
      for (int n = 1; n < kKeys / 8; ++n) {
        high[half] = max(high[half], max(scores[n][2 * half], scores[n][2 * half + 1]));
      }
      high[half] = max(high[half], __shfl_xor_sync(kAllLanes, high[half], 1));
      high[half] = max(high[half], __shfl_xor_sync(kAllLanes, high[half], 2)) * left;
      outgrown |= high[half] > highest[half] + kHeadroom;
    }
    if (__any_sync(kAllLanes, outgrown)) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (!(high[half] > highest[half] + kHeadroom)) continue;
        const float shrink = power_of_2(highest[half] - high[half]);
        highest[half] = high[half];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          totals[2 * half + i] *= shrink;
#pragma unroll
          for (int n = 0; n < kDim / 8; ++n) out[n][2 * half + i] *= shrink;
        }
      }
    }

#pragma unroll
    for (int block = 0; block < kKeys / 16; ++block) {
      uint32_t weights[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* pair = scores[2 * block + i / 2] + i % 2 * 2;
        const float low = power_of_2(fmaf(pair[0], left, -highest[i % 2]));
        weights[i] = packed<Element>(low, power_of_2(fmaf(pair[1], left, -highest[i % 2])));
      }
      multiply_add<Element>(totals, weights, ones, ones);
#pragma unroll
      for (int n = 0; n < kDim / 16; ++n) {
        uint32_t parts[4];
        load_transposed(parts, own_values + R::at(block * 16 + lane % 16, n * 2 + lane / 16));
        multiply_add<Element>(out[2 * n], weights, parts[0], parts[1]);
        multiply_add<Element>(out[2 * n + 1], weights, parts[2], parts[3]);
      }
    }
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int own = row + half * 8;
    if (own >= tile.end) continue;
    const int64_t start = static_cast<int64_t>(own) * width + static_cast<int>(blockIdx.y) * dim;
    uint16_t* to = static_cast<uint16_t*>(arguments.out) + start;
    const float inverse = 1 / totals[2 * half];
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      const int d = n * 8 + lane % 4 * 2;
      const uint32_t pair = packed<Element>(out[n][2 * half] * inverse, out[n][2 * half + 1] * inverse);
      if (dim % 2 == 0) {
        if (d < dim) *reinterpret_cast<uint32_t*>(to + d) = pair;
      } else {
        if (d < dim) to[d] = static_cast<uint16_t>(pair);
        if (d + 1 < dim) to[d + 1] = static_cast<uint16_t>(pair >> 16);
      }
    }
  }
}

// Blocks on a multiprocessor, which bound their registers.
template <int kDim, bool kBiased>
constexpr int kBlocksAtOnce = (kDim < 32   ? 5
                               : kDim < 64 ? 4
                                           : 3) -
                              kBiased;

template <typename Element, int kDim, bool kBiased>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce<kDim, kBiased>) attend_kernel(AttentionArguments arguments) {
  if constexpr (kMultiplies<Element>) attend_tile<Element, kDim, kBiased>(arguments);
}

template <typename Element, int kDim>
cudaError_t start(const AttentionArguments& arguments, cudaStream_t stream) {
  const dim3 blocks(num_tiles<kRows>(arguments), static_cast<unsigned>(arguments.heads));
  const size_t shared_bytes = 4 * Rows<kDim>::kElements * sizeof(uint16_t);
  if (arguments.table == nullptr) {
    return launch(attend_kernel<Element, kDim, false>, blocks, kThreads, shared_bytes, stream, arguments);
  }
  const size_t with_bias = shared_bytes + RelativeBias<kKeys>::shared_bytes(arguments);
  return launch(attend_kernel<Element, kDim, true>, blocks, kThreads, with_bias, stream, arguments);
}

template <typename Element>
cudaError_t start_for_dim(const AttentionArguments& arguments, cudaStream_t stream) {
  if (arguments.dim <= 16) return start<Element, 16>(arguments, stream);
  if (arguments.dim <= 32) return start<Element, 32>(arguments, stream);
  return start<Element, 64>(arguments, stream);
}

bool has_bfloat16() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major >= 8;
}

}  // namespace

cudaError_t attend(AttentionType type, const AttentionArguments& arguments, cudaStream_t stream) {
  if (arguments.dim > kMaxHeadDim || arguments.bound > kMaxBound) return cudaErrorInvalidValue;
  if (arguments.num_rows == 0 || arguments.dim == 0) return cudaSuccess;
  if (type == AttentionType::kHalf) return start_for_dim<__half>(arguments, stream);
  if (type == AttentionType::kBfloat16 && has_bfloat16()) return start_for_dim<__nv_bfloat16>(arguments, stream);
  return attend_exactly(type, arguments, stream);
}

}  // namespace sparseops::gpu
