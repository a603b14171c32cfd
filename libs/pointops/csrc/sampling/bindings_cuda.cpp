// CUDA implementation of farthest point sampling; bindings.cpp has its schema.
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "sampling/sampling_cuda.h"
#include "search/sorted_points.h"

namespace pointops {
namespace {

Tensor farthest_point_sampling(const Tensor& xyz, const Tensor& offset, const Tensor& sample_offset, int64_t samples) {
  const c10::cuda::CUDAGuard guard(xyz.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  Tensor index = at::zeros({samples}, xyz.options().dtype(at::kInt));
  const SortedPoints sorted(xyz, offset, stream);
  const Tensor distance2 = at::empty({xyz.size(0)}, xyz.options());
  C10_CUDA_CHECK(gpu::farthest_point_sampling(
      floats(xyz), vectors(sorted.points), clouds(offset, xyz), {longs(sample_offset), sample_offset.size(0), samples},
      distance2.mutable_data_ptr<float>(), index.mutable_data_ptr<int32_t>(), stream));
  return index;
}

}  // namespace

TORCH_LIBRARY_IMPL(pointops, CUDA, m) { m.impl("farthest_point_sampling", farthest_point_sampling); }

}  // namespace pointops
