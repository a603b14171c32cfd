// CUDA implementations of codes and orders along space-filling curves; bindings.cpp has their schemas.
#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "common/tensors_cuda.h"
#include "serialization/curves.h"
#include "serialization/serialization_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using namespace common;

Tensor codes_cuda(const Tensor& grid_coord, const std::optional<Tensor>& batch, const std::optional<Tensor>& depths,
                  int64_t depth, at::IntArrayRef curves) {
  const c10::cuda::CUDAGuard guard(grid_coord.device());
  const auto num_curves = static_cast<int64_t>(curves.size());
  Tensor codes = allocate({num_curves, grid_coord.size(0)}, grid_coord.options().dtype(at::kLong));
  auto fill = [&](const auto* coord) {
    C10_CUDA_CHECK(serialization_codes(coord, batch ? batch->const_data_ptr<int64_t>() : nullptr,
                                       depths ? depths->const_data_ptr<int64_t>() : nullptr, grid_coord.size(0),
                                       static_cast<int>(depth), curves.data(), num_curves,
                                       codes.mutable_data_ptr<int64_t>(), c10::cuda::getCurrentCUDAStream()));
  };
  if (grid_coord.scalar_type() == at::kInt) {
    fill(grid_coord.const_data_ptr<int32_t>());
  } else {
    fill(grid_coord.const_data_ptr<int64_t>());
  }
  return codes;
}

std::tuple<Tensor, Tensor> sort_cuda(const Tensor& codes, int64_t num_bits) {
  const c10::cuda::CUDAGuard guard(codes.device());
  const int bits = static_cast<int>(num_bits);
  Tensor orders = allocate(codes.sizes(), codes.options()), inverses = allocate(codes.sizes(), codes.options());
  if (codes.numel() == 0) return {orders, inverses};
  Tensor scratch = bytes_on(codes, sort_codes_scratch(codes.size(0), codes.size(1), bits));
  C10_CUDA_CHECK(sort_codes(codes.const_data_ptr<int64_t>(), codes.size(0), codes.size(1), bits,
                            orders.mutable_data_ptr<int64_t>(), inverses.mutable_data_ptr<int64_t>(),
                            scratch.mutable_data_ptr(), c10::cuda::getCurrentCUDAStream()));
  return {orders, inverses};
}

// The voxels (n, 4) along the z curve: their rows, themselves, and in that order those along each of `curves` and its
// inverse, int32 (K, n). Values are not looked at: what is out of range gives meaningless orders.
std::tuple<Tensor, Tensor, Tensor, Tensor> ordered_voxels_cuda(const Tensor& coords, at::IntArrayRef given_depths,
                                                               at::IntArrayRef curves) {
  TORCH_CHECK_VALUE(
      coords.dim() == 2 && coords.size(1) == 4 && coords.scalar_type() == at::kLong && coords.is_contiguous(),
      "coords must be contiguous int64 (V, 4), got ", coords.scalar_type(), " ", coords.sizes());
  TORCH_CHECK_VALUE(!given_depths.empty() && given_depths.size() <= kMaxDepths, "1 to ", kMaxDepths,
                    " clouds have depths, got ", given_depths.size());
  Depths depths{};
  depths.count = static_cast<int>(given_depths.size());
  for (int cloud = 0; cloud < depths.count; ++cloud) {
    TORCH_CHECK_VALUE(given_depths[cloud] >= 1 && given_depths[cloud] <= kMaxDepth, "depths must be 1 to ", kMaxDepth,
                      ", got ", given_depths[cloud]);
    depths.of[cloud] = static_cast<uint8_t>(given_depths[cloud]);
    depths.greatest = std::max(depths.greatest, static_cast<int>(given_depths[cloud]));
  }
  for (const int64_t curve : curves) {
    TORCH_CHECK_VALUE(curve >= 0 && curve < kNumCurves, "curves are numbers below ", kNumCurves, ", got ", curve);
  }
  std::vector<int64_t> all = curves.vec();
  if (std::find(all.begin(), all.end(), kZ) == all.end()) all.insert(all.begin(), kZ);
  const int64_t z = std::find(all.begin(), all.end(), kZ) - all.begin();
  int num_bits = 3 * depths.greatest;
  while ((int64_t{1} << (num_bits - 3 * depths.greatest)) < depths.count) ++num_bits;
  const c10::cuda::CUDAGuard guard(coords.device());
  const auto num_sorted = static_cast<int64_t>(all.size()), num_curves = static_cast<int64_t>(curves.size());
  const int64_t n = coords.size(0), first = num_sorted - num_curves;
  const auto narrow = coords.options().dtype(at::kInt);
  const Tensor rows = allocate({n}, coords.options()), sorted = allocate(coords.sizes(), coords.options());
  const Tensor orders = allocate({num_curves, n}, narrow), inverses = allocate({num_curves, n}, narrow);
  if (n > 0) {
    const int64_t count = num_sorted * n;
    const Tensor codes = allocate({3, count}, coords.options());
    const Tensor scratch = bytes_on(coords, sort_codes_scratch(num_sorted, n, num_bits));
    int64_t* const all_codes = codes.mutable_data_ptr<int64_t>();
    int64_t* const all_orders = all_codes + count;
    int64_t* const all_inverses = all_orders + count;
    const auto stream = c10::cuda::getCurrentCUDAStream();
    const int64_t* voxels = coords.const_data_ptr<int64_t>();
    C10_CUDA_CHECK(voxel_codes(voxels, n, depths, all.data(), num_sorted, all_codes, stream));
    C10_CUDA_CHECK(
        sort_codes(all_codes, num_sorted, n, num_bits, all_orders, all_inverses, scratch.mutable_data_ptr(), stream));
    C10_CUDA_CHECK(order_voxels(voxels, n, {all_orders + z * n, all_inverses + z * n},
                                {all_orders + first * n, all_inverses + first * n}, num_curves,
                                rows.mutable_data_ptr<int64_t>(), sorted.mutable_data_ptr<int64_t>(),
                                orders.mutable_data_ptr<int32_t>(), inverses.mutable_data_ptr<int32_t>(), stream));
  }
  return {rows, sorted, orders, inverses};
}

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) {
  m.impl("serialization_codes", &codes_cuda);
  m.impl("sort_codes", &sort_cuda);
  m.impl("ordered_voxels", &ordered_voxels_cuda);
}

}  // namespace sparseops::gpu
