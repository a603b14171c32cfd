// Reductions of tensors, for operators that are made of others; bindings.cpp has their schema.
#pragma once

#include <ATen/core/Tensor.h>

namespace sparseops {

at::Tensor segment_reduce(const at::Tensor& values, const at::Tensor& offsets, int64_t reduction);

}  // namespace sparseops
