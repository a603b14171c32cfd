// CUDA implementation of moments of neighbours; bindings.cpp has their schema.
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "moments/moments_cuda.h"
#include "moments/moments_tensors.h"

namespace pointops {
namespace {

Tensor neighbour_moments(const Tensor& xyz, const Tensor& queries, const Tensor& index, int64_t used) {
  const c10::cuda::CUDAGuard guard(xyz.device());
  Tensor out = empty_moments(queries);
  C10_CUDA_CHECK(gpu::neighbour_moments(neighbourhoods(xyz, queries, index, used), out.mutable_data_ptr<double>(),
                                        c10::cuda::getCurrentCUDAStream()));
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(pointops, CUDA, m) { m.impl("neighbour_moments", neighbour_moments); }

}  // namespace pointops
