// torch.ops.sparseops: layer norms: their schemas, and their CPU implementation, which is torch's. Shapes are explained
// in the Python functions.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <vector>

#include "norm/norm_tensors.h"

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("layer_norm(Tensor x, Tensor? weight, Tensor? bias, float eps, Tensor? residual) -> Tensor", as_given);
  m.def(
      "residual_norm(Tensor x, Tensor residual, Tensor? weight, Tensor? bias, float eps, Tensor? next_weight, "
      "Tensor? next_bias, float next_eps) -> (Tensor, Tensor)",
      as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) {
  m.impl("layer_norm", &sparseops::layer_norm);
  m.impl("residual_norm", &sparseops::residual_norm);
}
