// Levels of coarser voxels: their schemas, and their CPU implementations. Shapes are explained in the Python functions.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "levels/level_tensors.h"
#include "levels/levels_cpu.h"

namespace sparseops {
namespace {

using at::Tensor;

Tensor extents_cpu(const Tensor& coords) {
  Tensor extents = at::empty({kMaxClouds + 1, 2}, coords.options().dtype(at::kInt));
  cloud_extents_cpu(coords.const_data_ptr<int64_t>(), coords.size(0), extents.mutable_data_ptr<int32_t>());
  return extents;
}

Tensor ranks_cpu(const Tensor& coords, const Tensor& shifts) {
  Tensor ranks = at::empty({shifts.size(0), coords.size(0)}, coords.options().dtype(at::kInt));
  coarse_ranks_cpu(shifted(coords, shifts), coords.size(0), static_cast<int>(shifts.size(0)),
                   ranks.mutable_data_ptr<int32_t>());
  return ranks;
}

std::tuple<Tensor, Tensor, Tensor> rows_cpu(const Tensor& coords, const Tensor& ranks, const Tensor& shifts,
                                            at::IntArrayRef sizes) {
  const CoarseLevels levels = levels_of(coords.size(0), sizes);
  const RowTensors found(coords, levels);
  coarse_rows_cpu(shifted(coords, shifts), ranks.const_data_ptr<int32_t>(), coords.size(0), levels,
                  found.coarse.mutable_data_ptr<int64_t>(), found.parents.mutable_data_ptr<int64_t>(),
                  found.starts.mutable_data_ptr<int64_t>());
  return {found.coarse, found.parents, found.starts};
}

std::tuple<Tensor, Tensor> orders_cpu(const Tensor& orders, const Tensor& parents, at::IntArrayRef sizes) {
  const CoarseLevels levels = levels_of(orders.size(1), sizes);
  const OrderTensors found(orders, levels);
  coarse_orders_cpu(orders.const_data_ptr<int32_t>(), orders.size(0), parents.const_data_ptr<int64_t>(), levels,
                    found.orders.mutable_data_ptr<int32_t>(), found.inverses.mutable_data_ptr<int32_t>());
  return {found.orders, found.inverses};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("cloud_extents(Tensor coords) -> Tensor", as_given);
  m.def("coarse_ranks(Tensor coords, Tensor shifts) -> Tensor", as_given);
  m.def("coarse_rows(Tensor coords, Tensor ranks, Tensor shifts, int[] sizes) -> (Tensor, Tensor, Tensor)", as_given);
  m.def("coarse_orders(Tensor orders, Tensor parents, int[] sizes) -> (Tensor, Tensor)", as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) {
  m.impl("cloud_extents", &extents_cpu);
  m.impl("coarse_ranks", &ranks_cpu);
  m.impl("coarse_rows", &rows_cpu);
  m.impl("coarse_orders", &orders_cpu);
}

}  // namespace sparseops
