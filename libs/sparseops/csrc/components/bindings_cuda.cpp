// CUDA implementation of connected components; bindings.cpp has their schema.
#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "common/tensors_cuda.h"
#include "components/component_tensors.h"
#include "components/components_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;

// Offsets are not looked at, which would wait for the device.
Tensor connected_components_cuda(const Tensor& neighbours, const Tensor& offsets, const Tensor& labels) {
  const c10::cuda::CUDAGuard guard(labels.device());
  const Tensor lowest = common::allocate({labels.numel()}, labels.options());
  C10_CUDA_CHECK(connected_components(nodes_of(neighbours, offsets, labels), neighbours.size(0),
                                      lowest.mutable_data_ptr<int64_t>(), c10::cuda::getCurrentCUDAStream()));
  return lowest;
}

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) { m.impl("connected_components", &connected_components_cuda); }

}  // namespace sparseops::gpu
