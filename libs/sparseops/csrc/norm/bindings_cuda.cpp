// CUDA implementations of layer norms; bindings.cpp has their schemas.
#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <torch/library.h>

#include <initializer_list>
#include <vector>

#include "common/tensors_cuda.h"
#include "norm/norm_cuda.h"
#include "norm/norm_tensors.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using common::allocate;

// A norm's weight and bias.
struct Given {
  const OptionalTensor& weight;
  const OptionalTensor& bias;
  double eps;
};

bool fits(const OptionalTensor& tensor, const Tensor& x, at::IntArrayRef sizes) {
  return !tensor || (tensor->sizes() == sizes && tensor->scalar_type() == x.scalar_type() &&
                     tensor->device() == x.device() && tensor->is_contiguous());
}

// Whether the kernels take these tensors; torch takes or refuses all others.
bool fit(const Tensor& x, const OptionalTensor& residual, std::initializer_list<Given> norms) {
  const auto type = x.scalar_type();
  if (type != at::kFloat && type != at::kHalf && type != at::kBFloat16) return false;
  if (x.dim() != 2 || !fits(x, x, x.sizes()) || !fits(residual, x, x.sizes())) return false;
  for (const Given& norm : norms) {
    if (!fits(norm.weight, x, x.sizes().slice(1)) || !fits(norm.bias, x, x.sizes().slice(1))) return false;
  }
  return norm_supports(x.size(1), x.element_size());
}

template <typename Device, typename Torch>
void run(const Tensor& x, const OptionalTensor& residual, const Given& norm, const Given* next, const Tensor& out,
         const Tensor* next_out) {
  std::vector<Tensor> aligned;  // lives until the kernel is queued
  const auto pointer = [&](const OptionalTensor& tensor) -> const Device* {
    if (!tensor) return nullptr;
    aligned.push_back(common::aligned_to_16(*tensor));
    return reinterpret_cast<const Device*>(aligned.back().const_data_ptr<Torch>());
  };
  const auto affine = [&](const Given& given) {
    return Affine<Device>{pointer(given.weight), pointer(given.bias), static_cast<float>(given.eps)};
  };
  NormArguments<Device> arguments{};
  arguments.x = pointer(x);
  arguments.residual = pointer(residual);
  arguments.norm = affine(norm);
  arguments.out = reinterpret_cast<Device*>(out.mutable_data_ptr<Torch>());
  if (next != nullptr) {
    arguments.next = affine(*next);
    arguments.next_out = reinterpret_cast<Device*>(next_out->mutable_data_ptr<Torch>());
  }
  arguments.num_rows = x.size(0);
  arguments.channels = static_cast<int>(x.size(1));
  C10_CUDA_CHECK(normalize(arguments, c10::cuda::getCurrentCUDAStream()));
}

void run(const Tensor& x, const OptionalTensor& residual, const Given& norm, const Given* next, const Tensor& out,
         const Tensor* next_out) {
  const c10::cuda::CUDAGuard guard(x.device());
  switch (x.scalar_type()) {
    case at::kHalf: return run<__half, c10::Half>(x, residual, norm, next, out, next_out);
    case at::kBFloat16: return run<__nv_bfloat16, c10::BFloat16>(x, residual, norm, next, out, next_out);
    default: return run<float, float>(x, residual, norm, next, out, next_out);
  }
}

}  // namespace

Tensor layer_norm(const Tensor& x, const OptionalTensor& weight, const OptionalTensor& bias, double eps,
                  const OptionalTensor& residual) {
  const Given norm{weight, bias, eps};
  if (!fit(x, residual, {norm})) return sparseops::layer_norm(x, weight, bias, eps, residual);
  const Tensor out = allocate(x.sizes(), x.options());
  run(x, residual, norm, nullptr, out, nullptr);
  return out;
}

std::tuple<Tensor, Tensor> residual_norm(const Tensor& x, const Tensor& residual, const OptionalTensor& weight,
                                         const OptionalTensor& bias, double eps, const OptionalTensor& next_weight,
                                         const OptionalTensor& next_bias, double next_eps) {
  const Given norm{weight, bias, eps}, next{next_weight, next_bias, next_eps};
  if (!fit(x, residual, {norm, next})) {
    return sparseops::residual_norm(x, residual, weight, bias, eps, next_weight, next_bias, next_eps);
  }
  const Tensor out = allocate(x.sizes(), x.options()), next_out = allocate(x.sizes(), x.options());
  run(x, residual, norm, &next, out, &next_out);
  return {out, next_out};
}

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) {
  m.impl("layer_norm", &layer_norm);
  m.impl("residual_norm", &residual_norm);
}

}  // namespace sparseops::gpu
