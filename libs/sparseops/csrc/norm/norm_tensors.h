// Layer norms by torch: on the CPU, and on a GPU for what the kernels do not take; and those of a GPU.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/layer_norm.h>

#include <optional>
#include <tuple>

namespace sparseops {

using OptionalTensor = std::optional<at::Tensor>;

inline at::Tensor layer_norm(const at::Tensor& x, const OptionalTensor& weight, const OptionalTensor& bias, double eps,
                             const OptionalTensor& residual) {
  TORCH_CHECK_VALUE(x.dim() == 2, "x must be (N, C), got ", x.sizes());
  at::Tensor out = at::layer_norm(x, x.sizes().slice(1), weight, bias, eps);
  return residual ? out.add_(*residual) : out;
}

inline std::tuple<at::Tensor, at::Tensor> residual_norm(const at::Tensor& x, const at::Tensor& residual,
                                                        const OptionalTensor& weight, const OptionalTensor& bias,
                                                        double eps, const OptionalTensor& next_weight,
                                                        const OptionalTensor& next_bias, double next_eps) {
  const at::Tensor sum = layer_norm(x, weight, bias, eps, residual);
  return {sum, layer_norm(sum, next_weight, next_bias, next_eps, std::nullopt)};
}

namespace gpu {

at::Tensor layer_norm(const at::Tensor& x, const OptionalTensor& weight, const OptionalTensor& bias, double eps,
                      const OptionalTensor& residual);

std::tuple<at::Tensor, at::Tensor> residual_norm(const at::Tensor& x, const at::Tensor& residual,
                                                 const OptionalTensor& weight, const OptionalTensor& bias, double eps,
                                                 const OptionalTensor& next_weight, const OptionalTensor& next_bias,
                                                 double next_eps);

}  // namespace gpu
}  // namespace sparseops
