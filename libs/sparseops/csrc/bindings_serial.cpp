// Operators of serialized attention: their schemas, and their CPU implementations.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "serial_cpu.h"

namespace sparseops {
namespace {

using at::Tensor;

Tensor codes_cpu(const Tensor& grid_coord, const std::optional<Tensor>& batch, const std::optional<Tensor>& depths,
                 int64_t depth, at::IntArrayRef curves) {
  const auto num_curves = static_cast<int64_t>(curves.size());
  Tensor codes = at::empty({num_curves, grid_coord.size(0)}, grid_coord.options().dtype(at::kLong));
  auto fill = [&](const auto* coord) {
    serialization_codes_cpu(coord, batch ? batch->const_data_ptr<int64_t>() : nullptr,
                            depths ? depths->const_data_ptr<int64_t>() : nullptr, grid_coord.size(0),
                            static_cast<int>(depth), curves.data(), num_curves, codes.mutable_data_ptr<int64_t>());
  };
  if (grid_coord.scalar_type() == at::kInt) {
    fill(grid_coord.const_data_ptr<int32_t>());
  } else {
    fill(grid_coord.const_data_ptr<int64_t>());
  }
  return codes;
}

std::tuple<Tensor, Tensor> sort_cpu(const Tensor& codes, int64_t num_bits) {
  Tensor orders = at::empty(codes.sizes(), codes.options()), inverses = at::empty(codes.sizes(), codes.options());
  sort_codes_cpu(codes.const_data_ptr<int64_t>(), codes.size(0), codes.size(1), static_cast<int>(num_bits),
                 orders.mutable_data_ptr<int64_t>(), inverses.mutable_data_ptr<int64_t>());
  return {orders, inverses};
}

// Offsets must ascend from 0 to `end`, or reads would leave the tensor.
template <typename Offset>
void check_offsets(const char* name, const Tensor& offsets, int64_t end) {
  const Offset* at = offsets.const_data_ptr<Offset>();
  const int64_t last = offsets.numel() - 1;
  TORCH_CHECK_VALUE(at[0] == 0 && at[last] == end, name, " must begin with 0 and end with ", end, ", got ", at[0],
                    " and ", at[last]);
  for (int64_t i = 0; i < last; ++i) {
    TORCH_CHECK_VALUE(at[i] <= at[i + 1], name, " must ascend, got ", at[i], " before ", at[i + 1], " at ", i);
  }
}

Tensor segment_reduce_cpu_(const Tensor& values, const Tensor& offsets, int64_t reduction) {
  check_offsets<int64_t>("offsets", offsets, values.size(0));
  Tensor out = at::empty({offsets.size(0) - 1, values.size(1)}, values.options());
  auto reduce = [&](auto value) {
    using Value = decltype(value);
    segment_reduce_cpu(values.const_data_ptr<Value>(), offsets.const_data_ptr<int64_t>(), out.size(0), out.size(1),
                       static_cast<Reduction>(reduction), out.mutable_data_ptr<Value>());
  };
  switch (values.scalar_type()) {
    case at::kFloat: reduce(float{}); break;
    case at::kDouble: reduce(double{}); break;
    case at::kHalf: reduce(c10::Half{}); break;
    case at::kBFloat16: reduce(c10::BFloat16{}); break;
    default: TORCH_CHECK_VALUE(false, "values must be floating point, got ", values.scalar_type());
  }
  return out;
}

std::tuple<Tensor, Tensor, Tensor> padding_cpu(const Tensor& offset, int64_t patch_size, int64_t num_points,
                                               int64_t num_padded, int64_t num_patches) {
  Tensor pad = at::empty({num_padded}, offset.options()), unpad = at::empty({num_points}, offset.options());
  Tensor cu_seqlens = at::empty({num_patches + 1}, offset.options().dtype(at::kInt));
  patch_padding_cpu(offset.const_data_ptr<int64_t>(), offset.size(0), patch_size, pad.mutable_data_ptr<int64_t>(),
                    unpad.mutable_data_ptr<int64_t>(), cu_seqlens.mutable_data_ptr<int32_t>());
  return {pad, unpad, cu_seqlens};
}

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
  m.def("serialization_codes(Tensor grid_coord, Tensor? batch, Tensor? depths, int depth, int[] curves) -> Tensor", as_given);
  m.def("sort_codes(Tensor codes, int num_bits) -> (Tensor orders, Tensor inverses)", as_given);
  m.def("segment_reduce(Tensor values, Tensor offsets, int reduction) -> Tensor", as_given);
  m.def(
      "patch_padding(Tensor offset, int patch_size, SymInt num_points, SymInt num_padded, SymInt num_patches) -> "
      "(Tensor pad, Tensor unpad, Tensor cu_seqlens)", as_given);
  m.def("patch_attention(Tensor qkv, Tensor cu_seqlens, float scale, Tensor? bias) -> Tensor", as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) {
  m.impl("serialization_codes", &codes_cpu);
  m.impl("sort_codes", &sort_cpu);
  m.impl("segment_reduce", &segment_reduce_cpu_);
  m.impl("patch_padding", &padding_cpu);
  m.impl("patch_attention", &attention_cpu);
}

}  // namespace sparseops
