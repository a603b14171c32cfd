// CUDA implementations of the operators of serialized attention; bindings_serial.cpp has their schemas.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <tuple>

#include "serial_cuda.h"
#include "tensors_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;

Tensor codes_cuda(const Tensor& grid_coord, const std::optional<Tensor>& batch, const std::optional<Tensor>& depths,
                  int64_t depth, at::IntArrayRef curves) {
  const c10::cuda::CUDAGuard guard(grid_coord.device());
  const auto num_curves = static_cast<int64_t>(curves.size());
  Tensor codes = at::empty({num_curves, grid_coord.size(0)}, grid_coord.options().dtype(at::kLong));
  auto fill = [&](const auto* coord) {
    C10_CUDA_CHECK(serialization_codes(coord, batch ? batch->const_data_ptr<int64_t>() : nullptr,
                                       depths ? depths->const_data_ptr<int64_t>() : nullptr, grid_coord.size(0),
                                       static_cast<int>(depth), curves.data(), num_curves,
                                       codes.mutable_data_ptr<int64_t>(), c10::cuda::getCurrentCUDAStream()));
  };
  if (grid_coord.scalar_type() == at::kInt) {
    fill(grid_coord.const_data_ptr<int32_t>());
  } else {
    fill(grid_coord.const_data_ptr<int64_t>());
  }
  return codes;
}

std::tuple<Tensor, Tensor> sort_cuda(const Tensor& codes, int64_t num_bits) {
  const c10::cuda::CUDAGuard guard(codes.device());
  const int bits = static_cast<int>(num_bits);
  Tensor orders = at::empty(codes.sizes(), codes.options()), inverses = at::empty(codes.sizes(), codes.options());
  if (codes.numel() == 0) return {orders, inverses};
  Tensor scratch = bytes_on(codes, sort_codes_scratch(codes.size(0), codes.size(1), bits));
  C10_CUDA_CHECK(sort_codes(codes.const_data_ptr<int64_t>(), codes.size(0), codes.size(1), bits,
                            orders.mutable_data_ptr<int64_t>(), inverses.mutable_data_ptr<int64_t>(),
                            scratch.mutable_data_ptr(), c10::cuda::getCurrentCUDAStream()));
  return {orders, inverses};
}

Tensor segment_reduce_cuda(const Tensor& values, const Tensor& offsets, int64_t reduction) {
  const c10::cuda::CUDAGuard guard(values.device());
  Tensor out = at::empty({offsets.size(0) - 1, values.size(1)}, values.options());
  auto reduce = [&](auto device_value, auto torch_value) {
    using Device = decltype(device_value);
    using Torch = decltype(torch_value);
    C10_CUDA_CHECK(segment_reduce(reinterpret_cast<const Device*>(values.const_data_ptr<Torch>()),
                                  offsets.const_data_ptr<int64_t>(), values.size(0), out.size(0), out.size(1),
                                  static_cast<Reduction>(reduction),
                                  reinterpret_cast<Device*>(out.mutable_data_ptr<Torch>()),
                                  c10::cuda::getCurrentCUDAStream()));
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

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) {
  m.impl("serialization_codes", &codes_cuda);
  m.impl("sort_codes", &sort_cuda);
  m.impl("segment_reduce", &segment_reduce_cuda);
  m.impl("patch_padding", &padding_cuda);
}

}  // namespace sparseops::gpu
