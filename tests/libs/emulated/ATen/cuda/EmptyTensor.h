// Stands in for torch's header if there is no GPU.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

namespace at::detail {

inline TensorBase empty_cuda(IntArrayRef sizes, const TensorOptions& options) { return at::empty(sizes, options); }

}  // namespace at::detail
