// CUDA implementation of grid sampling; bindings.cpp has its schema.
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>

#include "common/tensors_cuda.h"
#include "common/told.h"
#include "grid/grid_cuda.h"
#include "grid/grid_tensors.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using namespace common;

// Waits for the device, to learn the number of voxels.
auto grid_sample_cuda(const Tensor& coord, at::ArrayRef<double> grid_size, int64_t hash) {
  check_grid(coord, grid_size, hash);
  const c10::cuda::CUDAGuard guard(coord.device());
  const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream();
  const int num_points = static_cast<int>(coord.size(0));
  const GridTensors tensors(coord);
  const Tensor scratch = bytes_on(coord, grid_sample_scratch(num_points));
  Told<GridResult> told;
  GridSize size{};
  std::copy_n(grid_size.data(), 3, size.edges);
  const auto sample = [&](const auto* from) {
    C10_CUDA_CHECK(grid_sample(from, num_points, size, static_cast<Hash>(hash), tensors.outputs(), told.memory(),
                               scratch.mutable_data_ptr(), stream));
  };
  coord.scalar_type() == at::kFloat ? sample(coord.const_data_ptr<float>()) : sample(coord.const_data_ptr<double>());
  told.queued(stream);
  const GridResult& result = told.wait();
  return tensors.of(result.inside != 0 ? result.num_voxels : -1);
}

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) { m.impl("grid_sample", &grid_sample_cuda); }

}  // namespace sparseops::gpu
