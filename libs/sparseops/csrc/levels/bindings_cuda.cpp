// CUDA implementations of levels of coarser voxels; bindings.cpp has their schemas.
#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <tuple>

#include "common/tensors_cuda.h"
#include "levels/level_tensors.h"
#include "levels/levels_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using namespace common;

void check_count(int64_t count) {
  TORCH_CHECK_VALUE(count < int64_t{1} << 31, "levels times curves times voxels must stay below 2**31, got ", count);
}

Tensor extents_cuda(const Tensor& coords) {
  const c10::cuda::CUDAGuard guard(coords.device());
  Tensor extents = allocate({kMaxClouds + 1, 2}, coords.options().dtype(at::kInt));
  C10_CUDA_CHECK(cloud_extents(coords.const_data_ptr<int64_t>(), coords.size(0), extents.mutable_data_ptr<int32_t>(),
                               c10::cuda::getCurrentCUDAStream()));
  return extents;
}

Tensor ranks_cuda(const Tensor& coords, const Tensor& shifts) {
  const c10::cuda::CUDAGuard guard(coords.device());
  const int64_t n = coords.size(0);
  const int num_levels = static_cast<int>(shifts.size(0));
  check_count(n * num_levels);
  Tensor ranks = allocate({num_levels, n}, coords.options().dtype(at::kInt));
  Tensor scratch = bytes_on(coords, coarse_ranks_scratch(n, num_levels));
  C10_CUDA_CHECK(coarse_ranks(shifted(coords, shifts), n, num_levels, ranks.mutable_data_ptr<int32_t>(),
                              scratch.mutable_data_ptr(), c10::cuda::getCurrentCUDAStream()));
  return ranks;
}

std::tuple<Tensor, Tensor, Tensor> rows_cuda(const Tensor& coords, const Tensor& ranks, const Tensor& shifts,
                                             at::IntArrayRef sizes) {
  const c10::cuda::CUDAGuard guard(coords.device());
  const CoarseLevels levels = levels_of(coords.size(0), sizes);
  const RowTensors found(coords, levels);
  C10_CUDA_CHECK(coarse_rows(shifted(coords, shifts), ranks.const_data_ptr<int32_t>(), coords.size(0), levels,
                             found.coarse.mutable_data_ptr<int64_t>(), found.parents.mutable_data_ptr<int64_t>(),
                             found.starts.mutable_data_ptr<int64_t>(), c10::cuda::getCurrentCUDAStream()));
  return {found.coarse, found.parents, found.starts};
}

std::tuple<Tensor, Tensor> orders_cuda(const Tensor& orders, const Tensor& parents, at::IntArrayRef sizes) {
  const c10::cuda::CUDAGuard guard(orders.device());
  const CoarseLevels levels = levels_of(orders.size(1), sizes);
  check_count(orders.numel() * levels.count);
  const OrderTensors found(orders, levels);
  Tensor scratch = bytes_on(orders, coarse_orders_scratch(orders.size(1), orders.size(0), levels.count));
  C10_CUDA_CHECK(coarse_orders(orders.const_data_ptr<int32_t>(), orders.size(0), parents.const_data_ptr<int64_t>(),
                               levels, found.orders.mutable_data_ptr<int32_t>(),
                               found.inverses.mutable_data_ptr<int32_t>(), scratch.mutable_data_ptr(),
                               c10::cuda::getCurrentCUDAStream()));
  return {found.orders, found.inverses};
}

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) {
  m.impl("cloud_extents", &extents_cuda);
  m.impl("coarse_ranks", &ranks_cuda);
  m.impl("coarse_rows", &rows_cuda);
  m.impl("coarse_orders", &orders_cuda);
}

}  // namespace sparseops::gpu
