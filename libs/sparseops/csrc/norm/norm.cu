// Layer norms: a warp, or as few of its lanes as there are packs of 16 bytes in a row, holds a row in registers from
// the one load to the one store. Mean and variance are sums in float32, the variance of the differences from the mean;
// their order depends on the number of channels alone.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common/launch.cuh"
#include "common/packs.cuh"
#include "common/threads.cuh"
#include "norm/norm_cuda.h"

namespace sparseops::gpu {
namespace {

using namespace common;

constexpr unsigned kWarp = 0xffffffffu;
constexpr int kMaxPacks = 8;  // of a lane

// Of all lanes of the group, in the same order for each.
__device__ float sum_over(float value, int lanes) {
  for (int step = lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(kWarp, value, step);
  return value;
}

// The packs of a row that a lane holds: every so many lanes one. Those beyond the row are zeros.
template <typename T, int kPacks>
struct Lane {
  static constexpr int kValues = Pack<T>::kValues;
  float values[kPacks][kValues];
  int first, lanes, channels;

  __device__ int channel(int pack) const { return (first + pack * lanes) * kValues; }

  // Loads all packs before any is looked at.
  __device__ void load(const T* row, bool there) {
    Pack<T> packs[kPacks];
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      packs[p] = there && channel(p) < channels ? load_pack(row + channel(p)) : Pack<T>{};
    }
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
#pragma unroll
      for (int i = 0; i < kValues; ++i) values[p][i] = to_float(packs[p].values[i]);
    }
  }

  // Stores the values, which then are as they were stored.
  __device__ void store(T* row, bool there) {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      Pack<T> pack;
#pragma unroll
      for (int i = 0; i < kValues; ++i) {
        from_float(values[p][i], pack.values[i]);
        values[p][i] = to_float(pack.values[i]);
      }
      if (there && channel(p) < channels) store_pack(row + channel(p), pack);
    }
  }

  __device__ void normalize(const Affine<T>& affine) {
    float sum = 0, squares = 0;
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
#pragma unroll
      for (int i = 0; i < kValues; ++i) sum += values[p][i];
    }
    const float mean = sum_over(sum, lanes) / static_cast<float>(channels);
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const bool there = channel(p) < channels;
#pragma unroll
      for (int i = 0; i < kValues; ++i) {
        values[p][i] = there ? values[p][i] - mean : 0.f;
        squares += values[p][i] * values[p][i];
      }
    }
    const float scale = rsqrtf(sum_over(squares, lanes) / static_cast<float>(channels) + affine.eps);
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      if (channel(p) >= channels) continue;
      const Pack<T> weight = affine.weight == nullptr ? Pack<T>{} : load_pack(affine.weight + channel(p));
      const Pack<T> bias = affine.bias == nullptr ? Pack<T>{} : load_pack(affine.bias + channel(p));
#pragma unroll
      for (int i = 0; i < kValues; ++i) {
        const float factor = affine.weight == nullptr ? scale : scale * to_float(weight.values[i]);
        values[p][i] = values[p][i] * factor + to_float(bias.values[i]);
      }
    }
  }

  __device__ void add(const Lane& other) {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
#pragma unroll
      for (int i = 0; i < kValues; ++i) values[p][i] += other.values[p][i];
    }
  }
};

template <typename T, int kPacks, bool kNext>
__global__ void __launch_bounds__(kThreads) normalize_rows(const NormArguments<T> arguments, int lanes) {
  const int64_t row = thread_index() / lanes;
  const bool there = row < arguments.num_rows;  // the other lanes take part in sums
  const int64_t start = row * arguments.channels;
  Lane<T, kPacks> lane, residual;
  lane.first = residual.first = static_cast<int>(threadIdx.x) % lanes;
  lane.lanes = residual.lanes = lanes;
  lane.channels = residual.channels = arguments.channels;
  lane.load(arguments.x + start, there);
  if (arguments.residual != nullptr) residual.load(arguments.residual + start, there);
  lane.normalize(arguments.norm);
  if (arguments.residual != nullptr) lane.add(residual);
  lane.store(arguments.out + start, there);
  if constexpr (kNext) {
    lane.normalize(arguments.next);
    lane.store(arguments.next_out + start, there);
  }
}

template <typename T, int kPacks>
cudaError_t run(const NormArguments<T>& arguments, int lanes, cudaStream_t stream) {
  const auto kernel =
      arguments.next_out == nullptr ? normalize_rows<T, kPacks, false> : normalize_rows<T, kPacks, true>;
  return launch(kernel, dim3(blocks_for(arguments.num_rows * lanes)), kThreads, 0, stream, arguments, lanes);
}

}  // namespace

bool norm_supports(int64_t channels, int64_t bytes_a_value) {
  const int64_t bytes = channels * bytes_a_value;
  return bytes > 0 && bytes % 16 == 0 && bytes <= 32 * 16 * kMaxPacks;
}

template <typename T>
cudaError_t normalize(const NormArguments<T>& arguments, cudaStream_t stream) {
  const int packs = arguments.channels / Pack<T>::kValues;
  int lanes = 1;
  while (lanes < packs && lanes < 32) lanes *= 2;
  const int of_a_lane = (packs + lanes - 1) / lanes;
  if (of_a_lane <= 1) return run<T, 1>(arguments, lanes, stream);
  if (of_a_lane <= 2) return run<T, 2>(arguments, lanes, stream);
  if (of_a_lane <= 4) return run<T, 4>(arguments, lanes, stream);
  return run<T, kMaxPacks>(arguments, lanes, stream);
}

template cudaError_t normalize(const NormArguments<float>&, cudaStream_t);
template cudaError_t normalize(const NormArguments<__half>&, cudaStream_t);
template cudaError_t normalize(const NormArguments<__nv_bfloat16>&, cudaStream_t);

}  // namespace sparseops::gpu
