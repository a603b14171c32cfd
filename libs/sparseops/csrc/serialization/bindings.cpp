// Codes and orders along space-filling curves: their schemas, and their CPU implementations.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "serialization/serialization_cpu.h"

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

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("serialization_codes(Tensor grid_coord, Tensor? batch, Tensor? depths, int depth, int[] curves) -> Tensor",
        as_given);
  m.def("sort_codes(Tensor codes, int num_bits) -> (Tensor orders, Tensor inverses)", as_given);
  // on CUDA alone: voxels along the z curve, and the curves between them
  m.def(
      "ordered_voxels(Tensor coords, int[] depths, int[] curves) -> (Tensor rows, Tensor sorted, Tensor orders, "
      "Tensor inverses)",
      as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) {
  m.impl("serialization_codes", &codes_cpu);
  m.impl("sort_codes", &sort_cpu);
}

}  // namespace sparseops
