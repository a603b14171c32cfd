// Patches of serialized clouds: their schema, and their CPU implementation.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "patches/patches_cpu.h"

namespace sparseops {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor> padding_cpu(const Tensor& offset, int64_t patch_size, int64_t num_points,
                                               int64_t num_padded, int64_t num_patches) {
  Tensor pad = at::empty({num_padded}, offset.options()), unpad = at::empty({num_points}, offset.options());
  Tensor cu_seqlens = at::empty({num_patches + 1}, offset.options().dtype(at::kInt));
  patch_padding_cpu(offset.const_data_ptr<int64_t>(), offset.size(0), patch_size, pad.mutable_data_ptr<int64_t>(),
                    unpad.mutable_data_ptr<int64_t>(), cu_seqlens.mutable_data_ptr<int32_t>());
  return {pad, unpad, cu_seqlens};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def(
      "patch_padding(Tensor offset, int patch_size, SymInt num_points, SymInt num_padded, SymInt num_patches) -> "
      "(Tensor pad, Tensor unpad, Tensor cu_seqlens)",
      as_given);
  // on CUDA alone: of all levels, along all their curves
  m.def(
      "serial_patches(Tensor[] orders, int[] ends, int[] patch_sizes) -> (Tensor[] gather, Tensor[] scatter, "
      "Tensor[] cu_seqlens)",
      as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) { m.impl("patch_padding", &padding_cpu); }

}  // namespace sparseops
