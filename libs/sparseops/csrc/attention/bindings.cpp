// Attention inside patches: its schema, and its CPU implementation.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <vector>

#include "attention/attention_cpu.h"
#include "attention/attention_tensors.h"
#include "attention/positions.h"
#include "common/offsets.h"

namespace sparseops {

using at::Tensor;
using namespace common;

Tensor patch_attention(const Tensor& qkv, const Tensor& cu_seqlens, double scale, const std::optional<Tensor>& table,
                       const std::optional<Tensor>& voxels) {
  check_offsets<int32_t>("cu_seqlens", cu_seqlens, qkv.size(0));
  check_positions(table, voxels, qkv.size(0), qkv.size(2));
  Positions positions{};
  if (table) {
    positions = {table->const_data_ptr<float>(), voxels->const_data_ptr<int32_t>(), bound_of(*table)};
  }
  Tensor out = at::empty({qkv.size(0), qkv.size(2) * qkv.size(3)}, qkv.options());
  patch_attention_cpu(qkv.const_data_ptr<float>(), cu_seqlens.const_data_ptr<int32_t>(), cu_seqlens.size(0) - 1,
                      qkv.size(2), qkv.size(3), static_cast<float>(scale), positions, out.mutable_data_ptr<float>());
  return out;
}

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def(
      "patch_attention(Tensor qkv, Tensor cu_seqlens, float scale, Tensor? table=None, Tensor? voxels=None) -> Tensor",
      as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) { m.impl("patch_attention", &patch_attention); }

}  // namespace sparseops
