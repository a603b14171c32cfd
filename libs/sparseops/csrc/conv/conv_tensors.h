// Sparse convolution of tensors, for operators that are made of others; bindings.cpp has its schema.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace sparseops {

using OptionalTensor = std::optional<at::Tensor>;

at::Tensor sparse_conv(const at::Tensor& features, const at::Tensor& weight, int64_t out_channels,
                       const OptionalTensor& rows, const OptionalTensor& bias, const OptionalTensor& residual,
                       int64_t activation);

namespace gpu {

// `rows` and `order` as group_rows gives them, or any rows and no order, or neither: every row is its own.
at::Tensor sparse_conv_grouped(const at::Tensor& features, const at::Tensor& weight, int64_t out_channels,
                               const OptionalTensor& rows, const OptionalTensor& order, const OptionalTensor& bias,
                               const OptionalTensor& residual, int64_t activation);

}  // namespace gpu
}  // namespace sparseops
