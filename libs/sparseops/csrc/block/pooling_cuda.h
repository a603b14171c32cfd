// Steps between levels on a GPU. Pointers are on the device, arrays contiguous; nothing waits for it.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace sparseops::gpu {

// Parameters of the batch norm are (channels); weight and bias may be null.
template <typename T>
struct PoolingArguments {
  const T* values;        // (num_rows, channels)
  const int64_t* starts;  // (num_segments + 1), moved into [0, num_rows]
  const float* weight;
  const float* bias;
  const float* mean;
  const float* variance;
  float eps;  // added to the variance
  T* out;     // (num_segments, channels)
  int64_t num_rows;
  int64_t num_segments;
  int channels;
};

// Of every segment of rows the maximum, 0 where it has none, normalized and through a GELU, rounded once.
template <typename T>
cudaError_t pool_segments(const PoolingArguments<T>& arguments, cudaStream_t stream);

// out = x + others[rows], (num_rows, channels); rows are moved into [0, num_others), of which there is one at least.
template <typename T>
cudaError_t add_rows(const T* x, const T* others, const int64_t* rows, int64_t num_rows, int64_t num_others,
                     int64_t channels, T* out, cudaStream_t stream);

}  // namespace sparseops::gpu
