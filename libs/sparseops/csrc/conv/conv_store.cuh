// How finished sums of a convolution are written.
#pragma once

#include "common/launch.cuh"
#include "common/packs.cuh"
#include "conv/conv_cuda.h"

namespace sparseops::gpu {

using namespace common;

// x times the share of the normal distribution below x. For results of 11 bits or fewer, the tail of the distribution
// is within 8e-8: formula 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical Functions.
template <typename T>
__device__ __forceinline__ float gelu(float x) {
  constexpr float kRootHalf = 0.70710678f;
  if constexpr (sizeof(T) == 4) return 0.5f * x * (1.f + erff(kRootHalf * x));
  const float distance = kRootHalf * fabsf(x), t = __fdividef(1.f, 1.f + 0.3275911f * distance);
  const float polynomial =
      t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  const float tail = 0.5f * polynomial * __expf(-distance * distance);
  return x * (x < 0 ? tail : 1.f - tail);
}

// A warp writes 16 rows of kColumns sums, out of a shared buffer with kStride floats a row, to the output from
// `first_column` on. out_rows: where each of the 16 rows goes, anything outside the output for nowhere.
template <typename T, int kColumns, int kStride>
__device__ __forceinline__ void store_rows(const ConvArguments& arguments, const float* buffer, const int* out_rows,
                                           int first_column, int lane) {
  constexpr int kPerPack = Pack<T>::kValues, kPacks = kColumns / kPerPack;
  for (int index = lane; index < 16 * kPacks; index += 32) {
    const int row = index / kPacks, pack = index % kPacks;
    const int out_row = out_rows[row], column = first_column + pack * kPerPack;
    if (static_cast<unsigned>(out_row) >= static_cast<unsigned>(arguments.num_out)) continue;
    if (column >= arguments.out_channels) continue;
    const int64_t element = static_cast<int64_t>(out_row) * arguments.out_channels + column;
    float sums[kPerPack];
#pragma unroll
    for (int i = 0; i < kPerPack; i += 4) {
      const Pack<float> four = load_pack(buffer + row * kStride + pack * kPerPack + i);
      const Pack<float> bias = arguments.bias == nullptr ? Pack<float>{} : load_pack(arguments.bias + column + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i + j] = four.values[j] + bias.values[j];
    }
    if (arguments.residual != nullptr) {
      const Pack<T> residual = load_pack(static_cast<const T*>(arguments.residual) + element);
#pragma unroll
      for (int i = 0; i < kPerPack; ++i) sums[i] += to_float(residual.values[i]);
    }
    if (arguments.activation == Activation::kRelu) {
#pragma unroll
      for (int i = 0; i < kPerPack; ++i) sums[i] = sums[i] < 0 ? 0.f : sums[i];
    } else if (arguments.activation == Activation::kGelu) {
#pragma unroll
      for (int i = 0; i < kPerPack; ++i) sums[i] = gelu<T>(sums[i]);
    }
    Pack<T> result;
#pragma unroll
    for (int i = 0; i < kPerPack; ++i) from_float(sums[i], result.values[i]);
    store_pack(static_cast<T*>(arguments.out) + element, result);
  }
}

}  // namespace sparseops::gpu
