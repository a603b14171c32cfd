// CUDA implementations of kernel maps; bindings.cpp has their schemas.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/where.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "common/tensors_cuda.h"
#include "common/told.h"
#include "maps/maps_cuda.h"
#include "maps/tables_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using namespace common;

constexpr int64_t kEntriesAligned = 64;  // of a table, 256 bytes

// Shape and dtype; the values are not looked at.
int check_coords(const Tensor& coords) {
  TORCH_CHECK_VALUE(
      coords.dim() == 2 && coords.size(1) == 4 && coords.scalar_type() == at::kLong && coords.is_contiguous(),
      "coords must be contiguous int64 (V, 4), got ", coords.scalar_type(), " ", coords.sizes());
  TORCH_CHECK_VALUE(coords.size(0) < kMaxRows, "too many voxels: ", coords.size(0));
  return static_cast<int>(coords.size(0));
}

// Values are not looked at.
std::tuple<Tensor, Tensor> sort_voxels_cuda(const Tensor& given) {
  const int num_voxels = check_coords(given);
  const c10::cuda::CUDAGuard guard(given.device());
  const Tensor coords = aligned_to_16(given);
  const Tensor order = allocate({num_voxels}, coords.options()), ascending = allocate(coords.sizes(), coords.options());
  const Tensor scratch = bytes_on(coords, sort_voxels_scratch(num_voxels));
  C10_CUDA_CHECK(sort_voxels(coords.const_data_ptr<int64_t>(), num_voxels, order.mutable_data_ptr<int64_t>(),
                             ascending.mutable_data_ptr<int64_t>(), scratch.mutable_data_ptr(),
                             c10::cuda::getCurrentCUDAStream()));
  return {order, ascending};
}

// Coordinates outside the limits meet nothing, or one another; they are not looked for, since that would wait. The maps
// are parts of one table.
std::vector<Tensor> submanifold_maps_cuda(at::TensorList given, at::IntArrayRef kernel_sizes) {
  TORCH_CHECK_VALUE(given.size() == kernel_sizes.size() && given.size() >= 1 && given.size() <= kMaxMaps, "1 to ",
                    kMaxMaps, " levels and as many kernel sizes, got ", given.size(), " and ", kernel_sizes.size());
  const c10::cuda::CUDAGuard guard(given[0].device());
  std::vector<Tensor> coords(given.size());  // live until the kernels are queued
  std::vector<MapRequest> requests(given.size());
  int64_t num_entries = 0;
  for (size_t i = 0; i < given.size(); ++i) {
    const int num_voxels = check_coords(given[i]);
    const int64_t size = kernel_sizes[i];
    TORCH_CHECK_VALUE(size >= 1 && size <= 7 && size % 2 == 1, "kernel_size must be odd, from 1 to 7, got ", size);
    TORCH_CHECK_VALUE(given[i].device() == given[0].device(), "all levels must be on ", given[0].device(), ", got ",
                      given[i].device());
    coords[i] = aligned_to_16(given[i]);
    requests[i] = {coords[i].const_data_ptr<int64_t>(), num_voxels, static_cast<int>(size), num_entries};
    num_entries += (size * size * size * num_voxels + kEntriesAligned - 1) / kEntriesAligned * kEntriesAligned;
  }
  const auto count = static_cast<int>(requests.size());
  const Tensor table = allocate({num_entries}, coords[0].options().dtype(at::kInt));
  const Tensor scratch = bytes_on(coords[0], submanifold_maps_scratch(requests.data(), count));
  C10_CUDA_CHECK(submanifold_maps(requests.data(), count, table.mutable_data_ptr<int32_t>(), num_entries,
                                  scratch.mutable_data_ptr(), c10::cuda::getCurrentCUDAStream()));
  std::vector<Tensor> maps;
  for (const MapRequest& request : requests) {
    const int64_t size = request.kernel_size, columns = request.num_voxels;
    maps.push_back(table.as_strided({size * size * size, columns}, {columns, 1}, request.first_entry));
  }
  return maps;
}

Tensor submanifold_map_cuda(const Tensor& coords, int64_t kernel_size) {
  return submanifold_maps_cuda(coords, kernel_size)[0];
}

using StridedMap = std::tuple<Tensor, Tensor, Tensor>;  // coarse, children, parents

// Waits until the size is known; none where the rows of coords do not ascend.
std::optional<StridedMap> ascending_strided_map(const Tensor& given) {
  const int num_voxels = check_coords(given);
  const Tensor coords = aligned_to_16(given);
  const auto table = coords.options().dtype(at::kInt);
  const Tensor coarse = allocate({num_voxels, 4}, coords.options());
  const Tensor children = allocate({8 * static_cast<int64_t>(num_voxels)}, table);
  const Tensor parents = allocate({8, num_voxels}, table);
  const Tensor scratch = bytes_on(coords, strided_map_scratch(num_voxels));
  Told<StridedResult> told;
  const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(strided_map_size(coords.const_data_ptr<int64_t>(), num_voxels, told.memory(),
                                  scratch.mutable_data_ptr(), stream));
  told.queued(stream);
  const cudaError_t error = strided_map(coords.const_data_ptr<int64_t>(), num_voxels, num_voxels,
                                        coarse.mutable_data_ptr<int64_t>(), children.mutable_data_ptr<int32_t>(),
                                        parents.mutable_data_ptr<int32_t>(), scratch.mutable_data_ptr(), stream);
  const StridedResult& result = told.wait();  // before an error is thrown: until then the device may write to it
  C10_CUDA_CHECK(error);
  if (result.inside == 0) {
    const Tensor low = coords.amin(0).cpu(), high = coords.amax(0).cpu();
    TORCH_CHECK_VALUE(false, "voxel coordinates must lie in [0, ", kCoordLimit, ") and batch indices in [0, ",
                      kBatchLimit, "), got ", at::IntArrayRef(low.const_data_ptr<int64_t>(), 4), " to ",
                      at::IntArrayRef(high.const_data_ptr<int64_t>(), 4), "; use a larger grid size or smaller tiles");
  }
  if (result.ascending == 0) return std::nullopt;
  const int64_t num_coarse = result.num_coarse;
  return StridedMap{coarse.narrow(0, 0, num_coarse), children.narrow(0, 0, 8 * num_coarse).view({8, num_coarse}),
                    parents};
}

StridedMap strided_map_cuda(const Tensor& coords) {
  const c10::cuda::CUDAGuard guard(coords.device());
  if (const auto map = ascending_strided_map(coords)) return *map;
  const Tensor keys =
      ((coords.select(1, 0) * kCoordLimit + coords.select(1, 1)) * kCoordLimit + coords.select(1, 2)) * kCoordLimit +
      coords.select(1, 3);
  const Tensor order = at::argsort(keys, /*stable=*/true);
  const auto sorted = ascending_strided_map(coords.index_select(0, order));
  TORCH_CHECK_VALUE(sorted.has_value(), "coords holds a voxel more than once");
  const auto& [coarse, children, parents] = *sorted;
  const Tensor rows = order.to(at::kInt).index_select(0, children.flatten().clamp_min(0).to(at::kLong));
  return {coarse, at::where(children >= 0, rows.view(children.sizes()), children),
          allocate(parents.sizes(), parents.options()).index_copy_(1, order, parents)};
}

// Rows must ascend and lie within the limits, and num_coarse be what they lead to; nothing waits for the device.
StridedMap sized_strided_map_cuda(const Tensor& given, int64_t num_coarse) {
  const int num_voxels = check_coords(given);
  TORCH_CHECK_VALUE(num_coarse >= (num_voxels > 0) && num_coarse <= num_voxels, "num_coarse must be 1 to ", num_voxels,
                    ", got ", num_coarse);
  const c10::cuda::CUDAGuard guard(given.device());
  const Tensor coords = aligned_to_16(given);
  const auto table = coords.options().dtype(at::kInt);
  const Tensor coarse = allocate({num_coarse, 4}, coords.options()), children = allocate({8, num_coarse}, table);
  const Tensor parents = allocate({8, num_voxels}, table);
  const Tensor scratch = bytes_on(coords, strided_map_scratch(num_voxels));
  const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(
      strided_map_size(coords.const_data_ptr<int64_t>(), num_voxels, nullptr, scratch.mutable_data_ptr(), stream));
  C10_CUDA_CHECK(strided_map(coords.const_data_ptr<int64_t>(), num_voxels, static_cast<int>(num_coarse),
                             coarse.mutable_data_ptr<int64_t>(), children.mutable_data_ptr<int32_t>(),
                             parents.mutable_data_ptr<int32_t>(), scratch.mutable_data_ptr(), stream));
  return {coarse, children, parents};
}

Tensor halved_sizes_cuda(const Tensor& given, int64_t num_levels) {
  const int num_voxels = check_coords(given), levels = static_cast<int>(num_levels);
  TORCH_CHECK_VALUE(num_levels >= 0 && num_levels <= 18, "num_levels must be 0 to 18, got ", num_levels);
  const c10::cuda::CUDAGuard guard(given.device());
  const Tensor coords = aligned_to_16(given);
  const Tensor sizes = allocate({num_levels + 2}, coords.options().dtype(at::kInt));
  const Tensor scratch = bytes_on(coords, halved_sizes_scratch(num_voxels, levels));
  C10_CUDA_CHECK(halved_sizes(coords.const_data_ptr<int64_t>(), num_voxels, levels, sizes.mutable_data_ptr<int32_t>(),
                              scratch.mutable_data_ptr(), c10::cuda::getCurrentCUDAStream()));
  return sizes;
}

// Of every map the rows of the output in an order that brings like neighbours together, int32 (num_out), and the
// columns of the map in that order.
std::tuple<std::vector<Tensor>, std::vector<Tensor>> group_rows_cuda(at::TensorList maps) {
  TORCH_CHECK_VALUE(maps.size() >= 1 && maps.size() <= kMaxMaps, "1 to ", kMaxMaps, " maps are grouped at once, got ",
                    maps.size());
  const c10::cuda::CUDAGuard guard(maps[0].device());
  std::vector<Tensor> orders, grouped;
  std::vector<GroupRequest> requests;
  int64_t num_rows = 0;
  for (const Tensor& rows : maps) {
    check_rows(rows);
    TORCH_CHECK_VALUE(rows.size(0) >= 1 && rows.size(0) <= kMaxGroupedOffsets, "rows can be grouped by 1 to ",
                      kMaxGroupedOffsets, " offsets, got ", rows.size(0));
    TORCH_CHECK_VALUE(rows.device() == maps[0].device(), "all maps must be on ", maps[0].device(), ", got ",
                      rows.device());
    orders.push_back(allocate({rows.size(1)}, rows.options()));
    grouped.push_back(allocate(rows.sizes(), rows.options()));
    requests.push_back({rows.const_data_ptr<int32_t>(), grouped.back().mutable_data_ptr<int32_t>(),
                        orders.back().mutable_data_ptr<int32_t>(), static_cast<int>(rows.size(0)),
                        static_cast<int>(rows.size(1))});
    num_rows += rows.size(1);
  }
  TORCH_CHECK_VALUE(num_rows < kMaxRows, "too many rows: ", num_rows);
  const auto count = static_cast<int>(requests.size());
  const Tensor scratch = bytes_on(maps[0], group_rows_scratch(requests.data(), count));
  C10_CUDA_CHECK(group_rows(requests.data(), count, scratch.mutable_data_ptr(), c10::cuda::getCurrentCUDAStream()));
  return {orders, grouped};
}

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) {
  m.impl("sort_voxels", &sort_voxels_cuda);
  m.impl("submanifold_map", &submanifold_map_cuda);
  m.impl("submanifold_maps", &submanifold_maps_cuda);
  m.impl("strided_map", &strided_map_cuda);
  m.impl("sized_strided_map", &sized_strided_map_cuda);
  m.impl("halved_sizes", &halved_sizes_cuda);
  m.impl("group_rows", &group_rows_cuda);
}

}  // namespace sparseops::gpu
