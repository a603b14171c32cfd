// Attention of tensors, for operators that are made of others; bindings.cpp has its schema.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace sparseops {

at::Tensor patch_attention(const at::Tensor& qkv, const at::Tensor& cu_seqlens, double scale,
                           const std::optional<at::Tensor>& table, const std::optional<at::Tensor>& voxels);

namespace gpu {

at::Tensor patch_attention(const at::Tensor& qkv, const at::Tensor& cu_seqlens, double scale,
                           const std::optional<at::Tensor>& table, const std::optional<at::Tensor>& voxels);

}  // namespace gpu
}  // namespace sparseops
