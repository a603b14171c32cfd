// CUDA implementation of patches; bindings.cpp has their schema.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <tuple>

#include "common/tensors_cuda.h"
#include "patches/patches_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using namespace common;

std::tuple<Tensor, Tensor, Tensor> padding_cuda(const Tensor& offset, int64_t patch_size, int64_t num_points,
                                                int64_t num_padded, int64_t num_patches) {
  const c10::cuda::CUDAGuard guard(offset.device());
  Tensor pad = at::empty({num_padded}, offset.options()), unpad = at::empty({num_points}, offset.options());
  Tensor cu_seqlens = at::empty({num_patches + 1}, offset.options().dtype(at::kInt));
  Tensor scratch = bytes_on(offset, patch_padding_scratch(offset.size(0)));
  C10_CUDA_CHECK(patch_padding(offset.const_data_ptr<int64_t>(), offset.size(0), patch_size, num_padded, num_patches,
                               pad.mutable_data_ptr<int64_t>(), unpad.mutable_data_ptr<int64_t>(),
                               cu_seqlens.mutable_data_ptr<int32_t>(), scratch.mutable_data_ptr(),
                               c10::cuda::getCurrentCUDAStream()));
  return {pad, unpad, cu_seqlens};
}

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) { m.impl("patch_padding", &padding_cuda); }

}  // namespace sparseops::gpu
