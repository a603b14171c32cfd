// Tensors that the CUDA implementations work in.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/cuda/EmptyTensor.h>

namespace common {

// Uninitialised memory on a GPU, as of at::empty, without the way through the dispatcher.
inline at::Tensor allocate(at::IntArrayRef sizes, const at::TensorOptions& options) {
  return at::Tensor(at::detail::empty_cuda(sizes, options));
}

inline at::Tensor bytes_on(const at::Tensor& beside, int64_t count) {
  return allocate({count}, beside.options().dtype(at::kByte));
}

// The tensor, or a copy of it where its memory does not begin at a multiple of 16 bytes.
inline at::Tensor aligned_to_16(const at::Tensor& tensor) {
  return reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % 16 == 0 ? tensor : tensor.clone();
}

}  // namespace common
