// torch.ops.sparseops: sparse convolution: its schemas, and its CPU implementation. Shapes are explained in the Python
// functions.
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <torch/library.h>

#include <vector>

#include "common/huge_pages.h"
#include "conv/activation.h"
#include "conv/conv_cpu.h"
#include "conv/conv_tensors.h"

namespace sparseops {
namespace {

using at::Tensor;
using common::allocate;

int64_t units_of(const Tensor& features) {
  return features.scalar_type() == at::kFloat ? features.size(1) : (features.size(1) + 1) / 2;
}

void check_type(const Tensor& tensor, const char* name) {
  TORCH_CHECK_VALUE(
      tensor.is_contiguous() && (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16), name,
      " must be contiguous float32 or bfloat16 on the CPU, got ", tensor.scalar_type());
}

Tensor pack_weight(const Tensor& weight) {
  check_type(weight, "weight");
  TORCH_CHECK_VALUE(weight.dim() == 3, "weight must be (C_out, K, C_in), got ", weight.sizes());
  const int64_t out = weight.size(0), offsets = weight.size(1), in = weight.size(2), panels = (out + PANEL - 1) / PANEL;
  if (weight.scalar_type() == at::kFloat) {
    const Tensor packed = at::empty({offsets, panels, in, PANEL}, weight.options());
    pack_float(weight.const_data_ptr<float>(), out, offsets, in, packed.mutable_data_ptr<float>());
    return packed;
  }
  const Tensor packed = at::empty({offsets, panels, (in + 1) / 2, PANEL * 2}, weight.options());
  pack_bfloat16(reinterpret_cast<const uint16_t*>(weight.const_data_ptr<at::BFloat16>()), out, offsets, in,
                reinterpret_cast<uint16_t*>(packed.mutable_data_ptr<at::BFloat16>()));
  return packed;
}

}  // namespace

Tensor sparse_conv(const Tensor& features, const Tensor& weight, int64_t out_channels, const OptionalTensor& rows,
                   const OptionalTensor& bias, const OptionalTensor& residual, int64_t activation) {
  check_type(features, "features");
  check_type(weight, "weight");
  const bool bfloat16 = features.scalar_type() == at::kBFloat16;
  TORCH_CHECK_VALUE(features.dim() == 2, "features must be (num_in, C_in), got ", features.sizes());
  if (rows)
    TORCH_CHECK_VALUE(rows->dim() == 2 && rows->scalar_type() == at::kInt && rows->is_contiguous(),
                      "rows must be contiguous int32 (K, num_out), got ", rows->scalar_type(), " ", rows->sizes());
  TORCH_CHECK_VALUE(0 <= activation && activation < kNumActivations, "activation must be 0, 1 or 2, got ", activation);
  const int64_t num_offsets = rows ? rows->size(0) : 1, num_out = rows ? rows->size(1) : features.size(0);
  const int64_t units = units_of(features), panels = (out_channels + PANEL - 1) / PANEL;
  TORCH_CHECK_VALUE(weight.scalar_type() == features.scalar_type() &&
                        weight.sizes() == at::IntArrayRef({num_offsets, panels, units, PANEL * (bfloat16 ? 2 : 1)}),
                    "weight, ", weight.scalar_type(), " ", weight.sizes(), ", is not packed for features ",
                    features.scalar_type(), " ", features.sizes(), ", ", num_offsets, " offsets and ", out_channels,
                    " channels");
  if (bias)
    TORCH_CHECK_VALUE(
        bias->scalar_type() == at::kFloat && bias->is_contiguous() && bias->sizes() == at::IntArrayRef({out_channels}),
        "bias must be float32 (", out_channels, "), got ", bias->scalar_type(), " ", bias->sizes());
  if (residual)
    TORCH_CHECK_VALUE(residual->scalar_type() == features.scalar_type() && residual->is_contiguous() &&
                          residual->sizes() == at::IntArrayRef({num_out, out_channels}),
                      "residual must be ", features.scalar_type(), " (", num_out, ", ", out_channels, "), got ",
                      residual->scalar_type(), " ", residual->sizes());
  const Tensor even = bfloat16 && features.size(1) % 2 ? at::constant_pad_nd(features, {0, 1}) : features;
  Tensor out = allocate({num_out, out_channels}, features.options());
  convolve({even.const_data_ptr(), weight.const_data_ptr(), rows ? rows->const_data_ptr<int32_t>() : nullptr,
            bias ? bias->const_data_ptr<float>() : nullptr, residual ? residual->const_data_ptr() : nullptr,
            out.mutable_data_ptr(), features.size(0), num_out, num_offsets, units, out_channels, panels, bfloat16,
            activation == static_cast<int64_t>(Activation::kRelu)});
  return activation == static_cast<int64_t>(Activation::kGelu) ? at::gelu_(out) : out;
}

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("pack_weight(Tensor weight) -> Tensor", as_given);
  m.def(
      "sparse_conv(Tensor features, Tensor weight, int out_channels, Tensor? rows, Tensor? bias, Tensor? residual, "
      "int activation) -> Tensor",
      as_given);
  // on CUDA alone: rows and order of group_rows
  m.def(
      "sparse_conv_grouped(Tensor features, Tensor weight, int out_channels, Tensor? rows, Tensor? order, "
      "Tensor? bias, Tensor? residual, int activation) -> Tensor",
      as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) {
  m.impl("pack_weight", &pack_weight);
  m.impl("sparse_conv", &sparse_conv);
}

}  // namespace sparseops
