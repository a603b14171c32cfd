// Attention inside patches: its schema, and its CPU implementation.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <vector>

#include "attention/attention_cpu.h"
#include "common/offsets.h"

namespace sparseops {
namespace {

using at::Tensor;
using namespace common;

// A bias must have an entry for every pair of points in a patch, or reads would leave it.
void check_bias(const Tensor& bias, const Tensor& cu_seqlens, int64_t heads) {
  const int64_t patches = cu_seqlens.size(0) - 1, length = bias.dim() == 4 ? bias.size(3) : 0;
  TORCH_CHECK_VALUE(bias.scalar_type() == at::kFloat && bias.is_contiguous() &&
                        bias.sizes() == at::IntArrayRef({patches, heads, length, length}),
                    "bias must be contiguous float32 (", patches, ", ", heads, ", L, L), got ", bias.scalar_type(), " ",
                    bias.sizes());
  const int32_t* starts = cu_seqlens.const_data_ptr<int32_t>();
  for (int64_t patch = 0; patch < patches; ++patch) {
    const int64_t own = starts[patch + 1] - starts[patch];
    TORCH_CHECK_VALUE(own == length, "bias has the length ", length, ", patch ", patch, " has ", own,
                      "; a bias needs patches of one length");
  }
}

Tensor attention_cpu(const Tensor& qkv, const Tensor& cu_seqlens, double scale, const std::optional<Tensor>& bias) {
  check_offsets<int32_t>("cu_seqlens", cu_seqlens, qkv.size(0));
  if (bias) check_bias(*bias, cu_seqlens, qkv.size(2));
  Tensor out = at::empty({qkv.size(0), qkv.size(2) * qkv.size(3)}, qkv.options());
  patch_attention_cpu(qkv.const_data_ptr<float>(), cu_seqlens.const_data_ptr<int32_t>(), cu_seqlens.size(0) - 1,
                      qkv.size(2), qkv.size(3), static_cast<float>(scale),
                      bias ? bias->const_data_ptr<float>() : nullptr, out.mutable_data_ptr<float>());
  return out;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("patch_attention(Tensor qkv, Tensor cu_seqlens, float scale, Tensor? bias) -> Tensor", as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) { m.impl("patch_attention", &attention_cpu); }

}  // namespace sparseops
