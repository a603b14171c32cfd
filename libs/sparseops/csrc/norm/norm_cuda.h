// Layer norms on a GPU.
#pragma once

#include <cuda_runtime.h>
#include <cstdint>

namespace sparseops::gpu {

// What rows are scaled and shifted by, (channels) each, or null.
template <typename T>
struct Affine {
  const T* weight;
  const T* bias;
  float eps;  // added to the variance
};

// Pointers are on the device, aligned to 16 bytes, arrays contiguous.
template <typename T>
struct NormArguments {
  const T* x;         // (num_rows, channels)
  const T* residual;  // the same, or null
  Affine<T> norm, next;
  T* out;       // residual + norm(x)
  T* next_out;  // next(out), or null
  int64_t num_rows;
  int channels;
};

// Whether rows fit into the registers of a warp, in packs of 16 bytes.
bool norm_supports(int64_t channels, int64_t bytes_a_value);

template <typename T>
cudaError_t normalize(const NormArguments<T>& arguments, cudaStream_t stream);

}  // namespace sparseops::gpu
