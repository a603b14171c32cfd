// CUDA implementations of sparse convolution; bindings.cpp has their schemas.
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "common/tensors_cuda.h"
#include "conv/conv_cuda.h"
#include "conv/conv_tensors.h"
#include "maps/tables_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using namespace common;

ConvType type_for(const Tensor& features) {
  switch (features.scalar_type()) {
    case at::kHalf: return ConvType::kHalf;
    case at::kBFloat16: return ConvType::kBfloat16;
    case at::kFloat: return at::globalContext().allowTF32CuBLAS() ? ConvType::kTf32 : ConvType::kFloat;
    default: TORCH_CHECK_VALUE(false, "features must be float32, float16 or bfloat16, got ", features.scalar_type());
  }
}

// `channels` of so many bytes each, filled up to whole packs of 16 bytes, at least one.
int64_t whole_packs(int64_t channels, int64_t bytes) {
  const int64_t multiple = 16 / bytes;
  return std::max((channels + multiple - 1) / multiple, int64_t{1}) * multiple;
}

// `dim` filled up with zeros.
Tensor padded(const Tensor& tensor, int64_t dim, int64_t size) {
  const int64_t missing = size - tensor.size(dim);
  if (missing == 0) return aligned_to_16(tensor);
  std::vector<int64_t> pad(2 * (tensor.dim() - dim), 0);
  pad.back() = missing;
  return at::constant_pad_nd(tensor, pad);
}

std::optional<Tensor> padded(const std::optional<Tensor>& tensor, int64_t dim, int64_t size) {
  return tensor ? std::optional(padded(*tensor, dim, size)) : std::nullopt;
}

Tensor convolve_as(ConvType type, const Tensor& given, const Tensor& given_weight, int64_t out_channels,
                   const std::optional<Tensor>& rows, const std::optional<Tensor>& order,
                   const std::optional<Tensor>& given_bias, const std::optional<Tensor>& given_residual,
                   int64_t activation) {
  const int64_t across = whole_packs(given_weight.size(0), given.element_size());
  const int64_t inwards = whole_packs(given_weight.size(2), given.element_size());
  const Tensor features = padded(given, 1, inwards), weight = padded(padded(given_weight, 2, inwards), 0, across);
  const std::optional<Tensor> bias = padded(given_bias, 0, across), residual = padded(given_residual, 1, across);
  const int64_t num_out = rows ? rows->size(1) : features.size(0);
  const Tensor out = allocate({num_out, weight.size(0)}, features.options());
  ConvArguments arguments{};
  arguments.features = features.const_data_ptr();
  arguments.weight = weight.const_data_ptr();
  arguments.forwards = rows ? rows->const_data_ptr<int32_t>() : nullptr;
  arguments.order = order ? order->const_data_ptr<int32_t>() : nullptr;
  arguments.bias = bias ? bias->const_data_ptr<float>() : nullptr;
  arguments.residual = residual ? residual->const_data_ptr() : nullptr;
  arguments.out = out.mutable_data_ptr();
  arguments.num_in = static_cast<int>(features.size(0));
  arguments.num_out = static_cast<int>(num_out);
  arguments.num_offsets = static_cast<int>(weight.size(1));
  arguments.in_channels = static_cast<int>(features.size(1));
  arguments.out_channels = static_cast<int>(weight.size(0));
  arguments.activation = static_cast<Activation>(activation);
  const auto run = hopper_supports(type, arguments) ? convolve_hopper : convolve;
  const cudaError_t error = run(type, arguments, c10::cuda::getCurrentCUDAStream());
  if (error == cudaErrorInvalidValue) {
    cudaGetLastError();  // else the next launch would be told of it
    TORCH_CHECK_VALUE(false, "weight has ", given_weight.size(2), " input channels at ", weight.size(1),
                      " offsets; the limits are ", kMaxInChannels, " channels, ", kMaxKernelOffsets,
                      " offsets and the shared memory of the device, in which both together need room");
  }
  C10_CUDA_CHECK(error);
  return across == out_channels ? out : out.narrow(1, 0, out_channels).contiguous();
}

}  // namespace

Tensor sparse_conv_grouped(const Tensor& features, const Tensor& weight, int64_t out_channels,
                           const OptionalTensor& rows, const OptionalTensor& order, const OptionalTensor& bias,
                           const OptionalTensor& residual, int64_t activation) {
  if (rows) check_rows(*rows);
  TORCH_CHECK_VALUE(features.dim() == 2 && features.is_contiguous() && features.size(0) < kMaxRows,
                    "features must be contiguous (num_in, C_in), got ", features.sizes());
  const int64_t num_offsets = rows ? rows->size(0) : 1, num_out = rows ? rows->size(1) : features.size(0);
  const auto fits = [&](int64_t size, int64_t channels) {
    return size == channels || size == whole_packs(channels, features.element_size());
  };
  TORCH_CHECK_VALUE(weight.dim() == 3 && fits(weight.size(0), out_channels) && weight.size(1) == num_offsets &&
                        fits(weight.size(2), features.size(1)) && weight.scalar_type() == features.scalar_type() &&
                        weight.is_contiguous(),
                    "weight must be contiguous ", features.scalar_type(), " (", out_channels, ", ", num_offsets, ", ",
                    features.size(1), "), got ", weight.scalar_type(), " ", weight.sizes());
  if (order) {
    TORCH_CHECK_VALUE(
        order->scalar_type() == at::kInt && order->is_contiguous() && order->sizes() == at::IntArrayRef({num_out}),
        "order must be contiguous int32 (", num_out, "), got ", order->scalar_type(), " ", order->sizes());
  }
  if (bias) {
    TORCH_CHECK_VALUE(
        bias->scalar_type() == at::kFloat && bias->is_contiguous() && bias->sizes() == at::IntArrayRef({out_channels}),
        "bias must be float32 (", out_channels, "), got ", bias->scalar_type(), " ", bias->sizes());
  }
  if (residual) {
    TORCH_CHECK_VALUE(residual->scalar_type() == features.scalar_type() && residual->is_contiguous() &&
                          residual->sizes() == at::IntArrayRef({num_out, out_channels}),
                      "residual must be contiguous ", features.scalar_type(), " (", num_out, ", ", out_channels,
                      "), got ", residual->scalar_type(), " ", residual->sizes());
  }
  TORCH_CHECK_VALUE(0 <= activation && activation < kNumActivations, "activation must be 0, 1 or 2, got ", activation);
  const auto check_device = [&](const Tensor& tensor) {
    TORCH_CHECK_VALUE(tensor.device() == features.device(), "all tensors must be on ", features.device(), ", got ",
                      tensor.device());
  };
  check_device(weight);
  for (const auto* tensor : {&rows, &order, &bias, &residual}) {
    if (*tensor) check_device(**tensor);
  }
  const c10::cuda::CUDAGuard guard(features.device());
  const ConvType type = type_for(features);
  if (convolve_supports(type)) {
    return convolve_as(type, features, weight, out_channels, rows, order, bias, residual, activation);
  }
  const auto wide = residual ? std::optional(residual->to(at::kFloat)) : std::nullopt;
  return convolve_as(ConvType::kFloat, features.to(at::kFloat), weight.to(at::kFloat), out_channels, rows, order, bias,
                     wide, activation)
      .to(features.scalar_type());
}

namespace {

Tensor sparse_conv_cuda(const Tensor& features, const Tensor& weight, int64_t out_channels,
                        const std::optional<Tensor>& rows, const std::optional<Tensor>& bias,
                        const std::optional<Tensor>& residual, int64_t activation) {
  return sparse_conv_grouped(features, weight, out_channels, rows, std::nullopt, bias, residual, activation);
}

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) {
  m.impl("sparse_conv", &sparse_conv_cuda);
  m.impl("sparse_conv_grouped", &sparse_conv_grouped);
}

}  // namespace sparseops::gpu
