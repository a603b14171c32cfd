// torch.ops.sparseops: parts of networks as a call each: their schemas, and their CPU implementations.
#include <ATen/TensorOperators.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_select.h>
#include <torch/library.h>

#include "attention/attention_tensors.h"
#include "block/block.h"
#include "conv/conv_tensors.h"
#include "norm/norm_tensors.h"
#include "segments/segment_tensors.h"
#include "segments/segments_cpu.h"

namespace sparseops {
namespace {

struct Cpu {
  static Tensor sparse_conv(const Tensor& features, const Tensor& weight, int64_t out_channels,
                            const OptionalTensor& rows, const OptionalTensor& order, const OptionalTensor& bias,
                            const OptionalTensor& residual, int64_t activation) {
    TORCH_CHECK_VALUE(!order, "order must be None on the CPU");
    return sparseops::sparse_conv(features, weight, out_channels, rows, bias, residual, activation);
  }
  static constexpr auto layer_norm = &sparseops::layer_norm;
  static constexpr auto residual_norm = &sparseops::residual_norm;

  static Tensor patch_attention(const Tensor& qkv, const Tensor& cu_seqlens, double scale) {
    return sparseops::patch_attention(qkv.to(at::kFloat), cu_seqlens, scale, std::nullopt, std::nullopt)
        .to(qkv.scalar_type());
  }

  static Tensor pooled(const Tensor& values, const Tensor& starts, const BatchNorm& norm) {
    const Tensor largest = segment_reduce(values, starts, kMax);
    return at::gelu(at::batch_norm(largest, norm.weight, norm.bias, norm.mean, norm.variance, /*training=*/false,
                                   /*momentum=*/0, norm.eps, /*cudnn_enabled=*/false));
  }

  static Tensor add_rows(const Tensor& x, const Tensor& others, const Tensor& rows) {
    return x + others.index_select(0, rows);
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def(
      "block_input(Tensor x, Tensor positional, Tensor rows, Tensor? order, Tensor into, Tensor?[] parameters, "
      "float[] eps) -> (Tensor, Tensor)",
      as_given);
  m.def(
      "block_output(Tensor attended, Tensor x, Tensor out_of, Tensor?[] parameters, float eps, int hidden_channels) "
      "-> Tensor",
      as_given);
  m.def(
      "attention_blocks(Tensor x, Tensor positional, Tensor rows, Tensor? order, Tensor[] into, Tensor[] out_of, "
      "Tensor[] cu_seqlens, Tensor?[] parameters, float[] numbers, int heads, int hidden_channels, ScalarType? cast) "
      "-> Tensor",
      as_given);
  m.def("residual_blocks(Tensor x, Tensor rows, Tensor? order, Tensor?[] parameters, int channels) -> Tensor",
        as_given);
  m.def("pool(Tensor x, Tensor starts, Tensor?[] linear, Tensor?[] norm, float eps, int channels) -> Tensor", as_given);
  m.def("unpool(Tensor x, Tensor skip, Tensor parents, Tensor?[] parameters, int channels) -> (Tensor, Tensor)",
        as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) {
  m.impl("block_input", &block_input<Cpu>);
  m.impl("block_output", &block_output<Cpu>);
  m.impl("attention_blocks", &attention_blocks<Cpu>);
  m.impl("residual_blocks", &residual_blocks<Cpu>);
  m.impl("pool", &pool<Cpu>);
  m.impl("unpool", &unpool<Cpu>);
}

}  // namespace sparseops
