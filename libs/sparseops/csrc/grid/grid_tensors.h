// What the CPU and CUDA implementations of grid sampling take and give.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <tuple>

#include "grid/grid_cpu.h"

namespace sparseops {

inline void check_grid(const at::Tensor& coord, at::ArrayRef<double> grid_size, int64_t hash) {
  TORCH_CHECK_VALUE(coord.dim() == 2 && coord.size(1) == 3 && coord.is_contiguous() &&
                        (coord.scalar_type() == at::kFloat || coord.scalar_type() == at::kDouble),
                    "coord must be contiguous float32 or float64 (N, 3), got ", coord.scalar_type(), " ",
                    coord.sizes());
  TORCH_CHECK_VALUE(coord.size(0) >= 1 && coord.size(0) < int64_t{1} << 31,
                    "coord must have 1 to 2**31 - 1 points, got ", coord.size(0));
  TORCH_CHECK_VALUE(grid_size.size() == 3, "grid_size must be three numbers, got ", grid_size.size());
  TORCH_CHECK_VALUE(hash == kFnv || hash == kRavel, "hash_number must be 0 or 1, got ", hash);
}

// Results of n points, before the number of voxels is known.
struct GridTensors {
  at::Tensor grid_coord, lowest, order, offsets, inverse;

  explicit GridTensors(const at::Tensor& coord) {
    const auto whole = coord.options().dtype(at::kLong);
    const int64_t n = coord.size(0);
    grid_coord = at::empty({n, 3}, whole);
    lowest = at::empty({3}, whole);
    order = at::empty({n}, whole);
    offsets = at::empty({n + 1}, whole);
    inverse = at::empty({n}, whole);
  }
  GridOutputs outputs() const {
    return {grid_coord.mutable_data_ptr<int64_t>(), lowest.mutable_data_ptr<int64_t>(),
            order.mutable_data_ptr<int64_t>(), offsets.mutable_data_ptr<int64_t>(),
            inverse.mutable_data_ptr<int64_t>()};
  }
  std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> of(int64_t num_voxels) const {
    TORCH_CHECK_VALUE(num_voxels >= 0, "coord must be finite and within 2**62 cells of the origin");
    return {grid_coord, lowest, order, offsets.narrow(0, 0, num_voxels + 1), inverse};
  }
};

}  // namespace sparseops
