// CUDA implementation of grid sampling; bindings_grid.cpp has its schema.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>

#include "grid_cuda.h"
#include "tensors_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using Grid = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;  // grid_coord, lowest, order, offsets, inverse

// Waits for the device, to learn the number of voxels.
Grid grid_sample_cuda(const Tensor& coord, at::ArrayRef<double> grid_size, int64_t hash) {
  const c10::cuda::CUDAGuard guard(coord.device());
  const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream();
  const int64_t n = coord.size(0);
  const auto whole = coord.options().dtype(at::kLong);
  Tensor grid_coord = at::empty({n, 3}, whole), lowest = at::empty({3}, whole), order = at::empty({n}, whole);
  Tensor offsets = at::empty({n + 1}, whole), inverse = at::empty({n}, whole);
  const GridOutputs outputs{grid_coord.mutable_data_ptr<int64_t>(), lowest.mutable_data_ptr<int64_t>(),
                            order.mutable_data_ptr<int64_t>(), offsets.mutable_data_ptr<int64_t>(),
                            inverse.mutable_data_ptr<int64_t>()};
  const Tensor scratch = bytes_on(coord, grid_sample_scratch(static_cast<int>(n)));
  Told<GridResult> told;
  GridSize size{};
  std::copy_n(grid_size.data(), 3, size.edges);
  const auto sample = [&](const auto* from) {
    C10_CUDA_CHECK(grid_sample(from, static_cast<int>(n), size, static_cast<Hash>(hash), outputs, told.memory(),
                               scratch.mutable_data_ptr(), stream));
  };
  coord.scalar_type() == at::kFloat ? sample(coord.const_data_ptr<float>()) : sample(coord.const_data_ptr<double>());
  told.queued(stream);
  const GridResult& result = told.wait();
  TORCH_CHECK_VALUE(result.inside != 0, "coord must be finite and within 2**62 cells of the origin");
  return {grid_coord, lowest, order, offsets.narrow(0, 0, result.num_voxels + 1), inverse};
}

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) { m.impl("grid_sample", &grid_sample_cuda); }

}  // namespace sparseops::gpu
