// The operator of grid sampling: its schema, and its CPU implementation.
#include <torch/library.h>

#include <vector>

#include "grid/grid_tensors.h"

namespace sparseops {
namespace {

using at::Tensor;

auto grid_sample(const Tensor& coord, at::ArrayRef<double> grid_size, int64_t hash) {
  check_grid(coord, grid_size, hash);
  const GridTensors tensors(coord);
  const auto sample = [&](const auto* from) {
    return grid_sample_cpu(from, coord.size(0), grid_size.data(), static_cast<Hash>(hash), tensors.outputs());
  };
  return tensors.of(coord.scalar_type() == at::kFloat ? sample(coord.const_data_ptr<float>())
                                                      : sample(coord.const_data_ptr<double>()));
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def(
      "grid_sample(Tensor coord, float[] grid_size, int hash_number) -> "
      "(Tensor grid_coord, Tensor lowest, Tensor order, Tensor offsets, Tensor inverse)",
      as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) { m.impl("grid_sample", &grid_sample); }

}  // namespace sparseops
