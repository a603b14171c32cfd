// CUDA implementations of codes and orders along space-filling curves; bindings.cpp has their schemas.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <tuple>

#include "common/tensors_cuda.h"
#include "serialization/serialization_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using namespace common;

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

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) {
  m.impl("serialization_codes", &codes_cuda);
  m.impl("sort_codes", &sort_cuda);
}

}  // namespace sparseops::gpu
