// CUDA implementation of reductions over segments; bindings.cpp has their schema.
#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "common/tensors_cuda.h"
#include "segments/segments_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using common::allocate;

Tensor segment_reduce_cuda(const Tensor& values, const Tensor& offsets, int64_t reduction) {
  const c10::cuda::CUDAGuard guard(values.device());
  Tensor out = allocate({offsets.size(0) - 1, values.size(1)}, values.options());
  auto reduce = [&](auto device_value, auto torch_value) {
    using Device = decltype(device_value);
    using Torch = decltype(torch_value);
    C10_CUDA_CHECK(segment_reduce(
        reinterpret_cast<const Device*>(values.const_data_ptr<Torch>()), offsets.const_data_ptr<int64_t>(),
        values.size(0), out.size(0), out.size(1), static_cast<Reduction>(reduction),
        reinterpret_cast<Device*>(out.mutable_data_ptr<Torch>()), c10::cuda::getCurrentCUDAStream()));
  };
  switch (values.scalar_type()) {
    case at::kFloat: reduce(float{}, float{}); break;
    case at::kDouble: reduce(double{}, double{}); break;
    case at::kHalf: reduce(__half{}, c10::Half{}); break;
    case at::kBFloat16: reduce(__nv_bfloat16{}, c10::BFloat16{}); break;
    default: TORCH_CHECK_VALUE(false, "values must be floating point, got ", values.scalar_type());
  }
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) { m.impl("segment_reduce", &segment_reduce_cuda); }

}  // namespace sparseops::gpu
