// Attention inside patches in float32. Four threads share up to four queries of one head, and each of them takes every
// fourth key of tiles of 32 in shared memory; at the end their sums are put together. So a key that is read serves four
// queries, and 32 queries fill a warp.
#include <cuda_bf16.h>

#include <type_traits>

#include "attention/instructions.cuh"
#include "attention/patch_tile.cuh"
#include "attention/relative_bias.cuh"

namespace sparseops::gpu {
namespace {

constexpr int kThreads = 128;
constexpr int kKeys = 32;   // of a tile
constexpr int kParts = 4;   // threads that share queries
constexpr int kAtOnce = 4;  // keys whose scores a thread holds

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 800
template <typename Element>
constexpr bool kNeeded = true;
#else
template <typename Element>
constexpr bool kNeeded = std::is_same_v<Element, float>;
#endif

template <typename Element>
__device__ __forceinline__ float to_float(Element value) {
  if constexpr (std::is_same_v<Element, float>) {
    return value;
  } else {
    return __bfloat162float(value);
  }
}

template <typename Element>
__device__ __forceinline__ Element from_float(float value) {
  if constexpr (std::is_same_v<Element, float>) {
    return value;
  } else {
    return __float2bfloat16_rn(value);
  }
}

template <int kDim>
constexpr int kQueries = 64 / kDim;  // of a thread, whose queries and sums are 128 registers
template <int kDim>
constexpr int kRows = kThreads / kParts * kQueries<kDim>;
static_assert(kRows<16> <= kMaxTileRows);
template <int kDim>
constexpr int kStride = kDim + 4;  // floats of a row in shared memory; no two of four rows share banks

// Copies `count` rows of `dim` elements, `stride` apart, as floats, zeros after them and behind `dim`; asynchronously
// if they are floats in whole 16 bytes.
template <int kDim, typename Element>
__device__ __forceinline__ void copy_rows(float* shared, const Element* global, int count, int64_t stride, int dim) {
  for (int i = static_cast<int>(threadIdx.x); i < kKeys * kDim / 4; i += kThreads) {
    const int row = i / (kDim / 4), d = i % (kDim / 4) * 4;
    const Element* from = global + (row < count ? row : 0) * stride;
    if (std::is_same_v<Element, float> && dim % 4 == 0) {
      const bool present = row < count && d < dim;
      copy16(shared + row * kStride<kDim> + d, from + (present ? d : 0), present);
    } else {
#pragma unroll
      for (int j = d; j < d + 4; ++j) shared[row * kStride<kDim> + j] = row < count && j < dim ? to_float(from[j]) : 0;
    }
  }
}

template <typename Element, int kDim, bool kBiased>
__device__ void attend_tile(const AttentionArguments& arguments) {
  constexpr int kOwn = kQueries<kDim>, kElements = kKeys * kStride<kDim>, kPacks = kStride<kDim> / 4;
  const PatchTile tile = find_tile<kRows<kDim>>(arguments);
  if (tile.first >= tile.end) return;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int dim = arguments.dim, width = arguments.heads * dim;
  const int64_t stride = 3 * static_cast<int64_t>(width);
  const auto* head = static_cast<const Element*>(arguments.qkv) + static_cast<int>(blockIdx.y) * dim;
  const Element* keys_from = head + tile.begin * stride + width;
  auto* keys = reinterpret_cast<float*>(dynamic_shared());  // two tiles, then two of values
  float* values = keys + 2 * kElements;
  const int length = tile.end - tile.begin;
  const RelativeBias<kKeys> bias{arguments, values + 2 * kElements};
  const auto copy_tile = [&](int first, int stage) {
    const Element* from = keys_from + first * stride;
    copy_rows<kDim>(keys + stage * kElements, from, length - first, stride, dim);
    copy_rows<kDim>(values + stage * kElements, from + width, length - first, stride, dim);
    if (kBiased) bias.copy_voxels(stage, tile.begin + first, length - first, thread, kThreads);
    copies_commit();
  };
  copy_tile(0, 0);
  if (kBiased) bias.copy_table(static_cast<int>(blockIdx.y), thread, kThreads);

  const int part = lane % kParts, first_row = tile.first + warp * (32 / kParts) * kOwn;
  // sums are largest where scores are, whatever the sign of the scale: queries take it
  const float factor = max(fabsf(arguments.scale) * kLog2E, 1e-37f);
  const float left = kBiased ? 1 : factor;  // of it, once there are scores
  int place[kOwn][3] = {};
  float query[kOwn][kDim], out[kOwn][kDim] = {}, total[kOwn] = {}, highest[kOwn];
#pragma unroll
  for (int r = 0; r < kOwn; ++r) {
    const int row = min(first_row + r * (32 / kParts) + lane / kParts, tile.end - 1);
    highest[r] = -INFINITY;
    if (kBiased) {
      for (int axis = 0; axis < 3; ++axis) place[r][axis] = arguments.voxels[static_cast<int64_t>(row) * 3 + axis];
    }
#pragma unroll
    for (int d = 0; d < kDim; ++d) {
      const float value = d < dim ? to_float(head[row * stride + d]) : 0;
      query[r][d] = arguments.scale < 0 ? -value : value;
    }
  }

  for (int first = 0, stage = 0; first < length; first += kKeys, stage ^= 1) {
    copies_wait<0>();
    __syncthreads();
    if (first + kKeys < length) copy_tile(first + kKeys, stage ^ 1);
    if (first_row >= tile.end) continue;
    const int num_keys = min(kKeys, length - first);
    for (int base = 0; base < num_keys; base += kAtOnce * kParts) {
      const int key = base + part;  // and every fourth after it
      const auto* own_keys = reinterpret_cast<const float4*>(keys + stage * kElements + key * kStride<kDim>);
      const auto* own_values = reinterpret_cast<const float4*>(values + stage * kElements + key * kStride<kDim>);
      float scores[kOwn][kAtOnce] = {};
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
#pragma unroll
        for (int d = 0; d < kDim / 4; ++d) {
          const float4 pack = own_keys[j * kParts * kPacks + d];
#pragma unroll
          for (int r = 0; r < kOwn; ++r) {
            scores[r][j] = fmaf(query[r][4 * d], pack.x, scores[r][j]);
            scores[r][j] = fmaf(query[r][4 * d + 1], pack.y, scores[r][j]);
            scores[r][j] = fmaf(query[r][4 * d + 2], pack.z, scores[r][j]);
            scores[r][j] = fmaf(query[r][4 * d + 3], pack.w, scores[r][j]);
          }
        }
      }
#pragma unroll
      for (int r = 0; r < kOwn; ++r) {
        float high = -INFINITY;
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          if (kBiased) {
            scores[r][j] = fmaf(scores[r][j], factor, bias.of(place[r], stage, key + j * kParts));
          }
          if (key + j * kParts >= num_keys) scores[r][j] = -INFINITY;
          high = max(high, scores[r][j]);
        }
        high *= left;
        if (high > highest[r] + kHeadroom) {
          const float shrink = power_of_2(highest[r] - high);
          highest[r] = high;
          total[r] *= shrink;
#pragma unroll
          for (int d = 0; d < kDim; ++d) out[r][d] *= shrink;
        }
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          const float weight = power_of_2(fmaf(scores[r][j], left, -highest[r]));
          scores[r][j] = key + j * kParts < num_keys ? weight : 0;  // also if it has had no key so far
          total[r] += scores[r][j];
        }
      }
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
#pragma unroll
        for (int d = 0; d < kDim / 4; ++d) {
          const float4 pack = own_values[j * kParts * kPacks + d];
#pragma unroll
          for (int r = 0; r < kOwn; ++r) {
            out[r][4 * d] = fmaf(scores[r][j], pack.x, out[r][4 * d]);
            out[r][4 * d + 1] = fmaf(scores[r][j], pack.y, out[r][4 * d + 1]);
            out[r][4 * d + 2] = fmaf(scores[r][j], pack.z, out[r][4 * d + 2]);
            out[r][4 * d + 3] = fmaf(scores[r][j], pack.w, out[r][4 * d + 3]);
          }
        }
      }
    }
  }

#pragma unroll
  for (int r = 0; r < kOwn; ++r) {
    float high = max(highest[r], __shfl_xor_sync(kAllLanes, highest[r], 1));
    high = max(high, __shfl_xor_sync(kAllLanes, high, 2));
    const float shrink = power_of_2(highest[r] - high);
    const auto sum_of_parts = [shrink](float own) {
      own *= shrink;
      own += __shfl_xor_sync(kAllLanes, own, 1);
      return own + __shfl_xor_sync(kAllLanes, own, 2);
    };
    const float inverse = 1 / sum_of_parts(total[r]);
    const int row = first_row + r * (32 / kParts) + lane / kParts;
    auto* to =
        static_cast<Element*>(arguments.out) + static_cast<int64_t>(row) * width + static_cast<int>(blockIdx.y) * dim;
#pragma unroll
    for (int d = 0; d < kDim; ++d) {
      const float value = sum_of_parts(out[r][d]) * inverse;
      if (d % kParts == part && d < dim && row < tile.end) to[d] = from_float<Element>(value);
    }
  }
}

constexpr int kBlocksAtOnce = 3;  // on a multiprocessor, which bounds their registers

template <typename Element, int kDim, bool kBiased>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce - kBiased)
    attend_exactly_kernel(AttentionArguments arguments) {
  if constexpr (kNeeded<Element>) attend_tile<Element, kDim, kBiased>(arguments);
}

template <typename Element, int kDim>
cudaError_t start(const AttentionArguments& arguments, cudaStream_t stream) {
  const dim3 blocks(num_tiles<kRows<kDim>>(arguments), static_cast<unsigned>(arguments.heads));
  const size_t shared_bytes = 4 * kKeys * kStride<kDim> * sizeof(float);
  if (arguments.table == nullptr) {
    return launch(attend_exactly_kernel<Element, kDim, false>, blocks, kThreads, shared_bytes, stream, arguments);
  }
  const size_t with_bias = shared_bytes + RelativeBias<kKeys>::shared_bytes(arguments);
  return launch(attend_exactly_kernel<Element, kDim, true>, blocks, kThreads, with_bias, stream, arguments);
}

template <typename Element>
cudaError_t start_for_dim(const AttentionArguments& arguments, cudaStream_t stream) {
  if (arguments.dim <= 16) return start<Element, 16>(arguments, stream);
  if (arguments.dim <= 32) return start<Element, 32>(arguments, stream);
  return start<Element, 64>(arguments, stream);
}

}  // namespace

cudaError_t attend_exactly(AttentionType type, const AttentionArguments& arguments, cudaStream_t stream) {
  if (type == AttentionType::kBfloat16) return start_for_dim<__nv_bfloat16>(arguments, stream);
  return start_for_dim<float>(arguments, stream);
}

}  // namespace sparseops::gpu
