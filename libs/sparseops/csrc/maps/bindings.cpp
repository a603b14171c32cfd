// torch.ops.sparseops: kernel maps: their schemas, and their CPU implementations. Shapes are explained in the Python
// functions.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <limits>
#include <vector>

#include "common/huge_pages.h"
#include "maps/maps_cpu.h"

namespace sparseops {
namespace {

using at::Tensor;
using common::allocate;

void check_coords(const Tensor& coords) {
  TORCH_CHECK_VALUE(
      coords.dim() == 2 && coords.size(1) == 4 && coords.scalar_type() == at::kLong && coords.is_contiguous(),
      "coords must be contiguous int64 (V, 4), got ", coords.scalar_type(), " ", coords.sizes());
  TORCH_CHECK_VALUE(coords.size(0) < std::numeric_limits<int32_t>::max(), "too many voxels: ", coords.size(0));
  if (within_limits(coords.const_data_ptr<int64_t>(), coords.size(0))) return;
  const Tensor low = coords.amin(0), high = coords.amax(0);
  TORCH_CHECK_VALUE(false, "voxel coordinates must lie in [0, ", COORD_LIMIT, ") and batch indices in [0, ",
                    BATCH_LIMIT, "), got ", at::IntArrayRef(low.const_data_ptr<int64_t>(), 4), " to ",
                    at::IntArrayRef(high.const_data_ptr<int64_t>(), 4), "; use a larger grid size or smaller tiles");
}

std::tuple<Tensor, Tensor> sort_voxels(const Tensor& coords) {
  check_coords(coords);
  const Keys keys = sort_keys(coords.const_data_ptr<int64_t>(), coords.size(0), 0, 0);
  Tensor order = at::empty({coords.size(0)}, coords.options());
  std::copy(keys.order.begin(), keys.order.end(), order.mutable_data_ptr<int64_t>());
  return {order, coords.index_select(0, order)};
}

Tensor submanifold_map(const Tensor& coords, int64_t kernel_size) {
  check_coords(coords);
  TORCH_CHECK_VALUE(kernel_size >= 1 && kernel_size <= 7 && kernel_size % 2 == 1,
                    "kernel_size must be odd, from 1 to 7, got ", kernel_size);
  const Keys keys = sort_keys(coords.const_data_ptr<int64_t>(), coords.size(0), kernel_size / 2, 0);
  TORCH_CHECK_VALUE(!has_duplicates(keys), "coords holds a voxel more than once");
  const Tensor rows =
      allocate({kernel_size * kernel_size * kernel_size, coords.size(0)}, coords.options().dtype(at::kInt));
  submanifold_table(keys, kernel_size, rows.mutable_data_ptr<int32_t>());
  return rows;
}

std::tuple<Tensor, Tensor, Tensor> strided_map(const Tensor& coords) {
  check_coords(coords);
  const int64_t num = coords.size(0);
  const int64_t* from = coords.const_data_ptr<int64_t>();
  const auto table = coords.options().dtype(at::kInt);
  const Tensor parent = at::empty({num}, table), coarse = at::empty({num, 4}, coords.options());
  const int64_t num_coarse =
      coarser_voxels(from, num, parent.mutable_data_ptr<int32_t>(), coarse.mutable_data_ptr<int64_t>());
  const Tensor children = allocate({8, num_coarse}, table), parents = allocate({8, num}, table);
  const bool distinct = strided_tables(from, num, parent.const_data_ptr<int32_t>(), num_coarse,
                                       children.mutable_data_ptr<int32_t>(), parents.mutable_data_ptr<int32_t>());
  TORCH_CHECK_VALUE(distinct, "coords holds a voxel more than once");
  return {coarse.narrow(0, 0, num_coarse), children, parents};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("sort_voxels(Tensor coords) -> (Tensor order, Tensor ascending)", as_given);
  m.def("submanifold_map(Tensor coords, int kernel_size) -> Tensor", as_given);
  m.def("strided_map(Tensor coords) -> (Tensor, Tensor, Tensor)", as_given);
  // on CUDA alone: submanifold maps of several levels, the sizes of all levels at once, a strided map of known size,
  // and output rows of several maps with like neighbours side by side
  m.def("submanifold_maps(Tensor[] coords, int[] kernel_sizes) -> Tensor[]", as_given);
  m.def("halved_sizes(Tensor coords, int num_levels) -> Tensor", as_given);
  m.def("sized_strided_map(Tensor coords, SymInt num_coarse) -> (Tensor, Tensor, Tensor)", as_given);
  m.def("group_rows(Tensor[] maps) -> (Tensor[] orders, Tensor[] grouped)", as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) {
  m.impl("sort_voxels", &sort_voxels);
  m.impl("submanifold_map", &submanifold_map);
  m.impl("strided_map", &strided_map);
}

}  // namespace sparseops
