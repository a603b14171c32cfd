// The operator of grid sampling: its schema, and its CPU implementation.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <tuple>

#include "grid_cpu.h"

namespace sparseops {
namespace {

using at::Tensor;
using Grid = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;  // grid_coord, lowest, order, offsets, inverse

Grid grid_sample(const Tensor& coord, at::ArrayRef<double> grid_size, int64_t hash) {
  const int64_t n = coord.size(0);
  const auto whole = coord.options().dtype(at::kLong);
  Tensor grid_coord = at::empty({n, 3}, whole), lowest = at::empty({3}, whole), order = at::empty({n}, whole);
  Tensor offsets = at::empty({n + 1}, whole), inverse = at::empty({n}, whole);
  const GridOutputs outputs{grid_coord.mutable_data_ptr<int64_t>(), lowest.mutable_data_ptr<int64_t>(),
                            order.mutable_data_ptr<int64_t>(), offsets.mutable_data_ptr<int64_t>(),
                            inverse.mutable_data_ptr<int64_t>()};
  const auto sample = [&](const auto* from) {
    return grid_sample_cpu(from, n, grid_size.data(), static_cast<Hash>(hash), outputs);
  };
  const int64_t num_voxels = coord.scalar_type() == at::kFloat ? sample(coord.const_data_ptr<float>())
                                                               : sample(coord.const_data_ptr<double>());
  TORCH_CHECK_VALUE(num_voxels >= 0, "coord must be finite and within 2**62 cells of the origin");
  return {grid_coord, lowest, order, offsets.narrow(0, 0, num_voxels + 1), inverse};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  m.def(
      "grid_sample(Tensor coord, float[] grid_size, int hash_number) -> "
      "(Tensor grid_coord, Tensor lowest, Tensor order, Tensor offsets, Tensor inverse)");
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) { m.impl("grid_sample", &grid_sample); }

}  // namespace sparseops
