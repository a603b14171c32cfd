// How finished sums of a convolution are written.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common/launch.cuh"
#include "conv/conv_cuda.h"

namespace sparseops::gpu {

using namespace common;

template <typename T>
struct alignas(16) Pack {
  T values[16 / sizeof(T)];
};

__device__ __forceinline__ float to_float(__half value) { return __half2float(value); }
__device__ __forceinline__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ void from_float(float value, __half& out) { out = __float2half_rn(value); }
__device__ __forceinline__ void from_float(float value, __nv_bfloat16& out) { out = __float2bfloat16_rn(value); }
__device__ __forceinline__ void from_float(float value, float& out) { out = value; }

template <typename T>
__device__ __forceinline__ void add(float (&sums)[16 / sizeof(T)], const T* values) {
  const Pack<T> pack = *reinterpret_cast<const Pack<T>*>(values);
#pragma unroll
  for (int i = 0; i < static_cast<int>(16 / sizeof(T)); ++i) sums[i] += to_float(pack.values[i]);
}

// A warp writes 16 rows of kColumns sums, out of a shared buffer with kStride floats a row, to the output from
// `first_column` on. out_rows: where each of the 16 rows goes, anything outside the output for nowhere.
template <typename T, int kColumns, int kStride>
__device__ __forceinline__ void store_rows(const ConvArguments& arguments, const float* buffer, const int* out_rows,
                                           int first_column, int lane) {
  constexpr int kPerPack = 16 / sizeof(T), kPacks = kColumns / kPerPack;
  for (int index = lane; index < 16 * kPacks; index += 32) {
    const int row = index / kPacks, pack = index % kPacks;
    const int out_row = out_rows[row], column = first_column + pack * kPerPack;
    if (static_cast<unsigned>(out_row) >= static_cast<unsigned>(arguments.num_out)) continue;
    if (column >= arguments.out_channels) continue;
    const int64_t element = static_cast<int64_t>(out_row) * arguments.out_channels + column;
    float sums[kPerPack];
#pragma unroll
    for (int i = 0; i < kPerPack; ++i) sums[i] = buffer[row * kStride + pack * kPerPack + i];
    if (arguments.bias != nullptr) {
#pragma unroll
      for (int i = 0; i < kPerPack; ++i) sums[i] += __ldg(arguments.bias + column + i);
    }
    if (arguments.residual != nullptr) add(sums, static_cast<const T*>(arguments.residual) + element);
    Pack<T> result;
#pragma unroll
    for (int i = 0; i < kPerPack; ++i) {
      from_float(arguments.relu && sums[i] < 0 ? 0.f : sums[i], result.values[i]);
    }
    *reinterpret_cast<Pack<T>*>(static_cast<T*>(arguments.out) + element) = result;
  }
}

}  // namespace sparseops::gpu
