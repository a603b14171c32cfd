// CUDA implementation of patches; bindings.cpp has their schema.
#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "common/tensors_cuda.h"
#include "patches/patches_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using namespace common;

std::tuple<Tensor, Tensor, Tensor> padding_cuda(const Tensor& offset, int64_t patch_size, int64_t num_points,
                                                int64_t num_padded, int64_t num_patches) {
  const c10::cuda::CUDAGuard guard(offset.device());
  Tensor pad = allocate({num_padded}, offset.options()), unpad = allocate({num_points}, offset.options());
  Tensor cu_seqlens = allocate({num_patches + 1}, offset.options().dtype(at::kInt));
  Tensor scratch = bytes_on(offset, patch_padding_scratch(offset.size(0)));
  C10_CUDA_CHECK(patch_padding(offset.const_data_ptr<int64_t>(), offset.size(0), patch_size, num_padded, num_patches,
                               pad.mutable_data_ptr<int64_t>(), unpad.mutable_data_ptr<int64_t>(),
                               cu_seqlens.mutable_data_ptr<int32_t>(), scratch.mutable_data_ptr(),
                               c10::cuda::getCurrentCUDAStream()));
  return {pad, unpad, cu_seqlens};
}

// `ends` has of every level those of its clouds.
std::tuple<std::vector<Tensor>, std::vector<Tensor>, std::vector<Tensor>> serial_patches_cuda(
    at::TensorList orders, at::IntArrayRef ends, at::IntArrayRef patch_sizes) {
  const size_t count = orders.size();
  TORCH_CHECK_VALUE(count >= 1 && count <= kMaxPatchLevels && patch_sizes.size() == count && ends.size() % count == 0,
                    "1 to ", kMaxPatchLevels, " levels, of each a patch size and as many ends, got ", count, ", ",
                    patch_sizes.size(), " and ", ends.size());
  const c10::cuda::CUDAGuard guard(orders[0].device());
  const size_t num_clouds = ends.size() / count;
  std::vector<Tensor> gather, scatter, cu_seqlens;
  std::vector<PatchLevel> levels(count);
  std::vector<PatchCloud> clouds;
  for (size_t l = 0; l < count; ++l) {
    const Tensor& order = orders[l];
    const int64_t size = patch_sizes[l];
    TORCH_CHECK_VALUE(order.dim() == 2 && order.scalar_type() == at::kInt && order.is_contiguous() &&
                          order.device() == orders[0].device() && size >= 1 && size < INT32_MAX,
                      "orders must be contiguous int32 (K, V) on one device and patch sizes positive, got ",
                      order.scalar_type(), " ", order.sizes(), " on ", order.device(), " and ", size);
    int64_t start = 0, num_padded = 0, num_patches = 0;
    const auto begin_cloud = [&] {
      clouds.push_back(
          {static_cast<int32_t>(num_padded), static_cast<int32_t>(start), static_cast<int32_t>(num_patches)});
    };
    for (size_t b = 0; b < num_clouds; ++b) {
      begin_cloud();
      const int64_t end = ends[l * num_clouds + b], patches = (end - start + size - 1) / size;
      TORCH_CHECK_VALUE(end >= start, "ends must ascend from 0, got ", end, " after ", start);
      num_padded += patches > 1 ? patches * size : end - start;
      num_patches += patches;
      start = end;
    }
    begin_cloud();
    TORCH_CHECK_VALUE(start == order.size(1) && num_padded < INT32_MAX, "clouds must end with the ", order.size(1),
                      " points and fill fewer than 2**31 - 1 places, got ", start, " and ", num_padded);
    gather.push_back(allocate({order.size(0), num_padded}, order.options()));
    scatter.push_back(allocate(order.sizes(), order.options()));
    cu_seqlens.push_back(allocate({num_patches + 1}, order.options()));
    levels[l] = {order.const_data_ptr<int32_t>(),
                 gather[l].mutable_data_ptr<int32_t>(),
                 scatter[l].mutable_data_ptr<int32_t>(),
                 cu_seqlens[l].mutable_data_ptr<int32_t>(),
                 static_cast<int>(order.size(0)),
                 static_cast<int>(order.size(1)),
                 static_cast<int>(num_padded),
                 static_cast<int>(num_patches),
                 static_cast<int>(size)};
  }
  const auto bytes = static_cast<int64_t>(clouds.size() * sizeof(PatchCloud));
  const Tensor uploaded =
      at::from_blob(clouds.data(), {bytes}, at::kByte).to(orders[0].device(), /*non_blocking=*/true);
  C10_CUDA_CHECK(serial_patches(levels.data(), static_cast<int>(count),
                                static_cast<const PatchCloud*>(uploaded.const_data_ptr()), static_cast<int>(num_clouds),
                                c10::cuda::getCurrentCUDAStream()));
  return {gather, scatter, cu_seqlens};
}

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) {
  m.impl("patch_padding", &padding_cuda);
  m.impl("serial_patches", &serial_patches_cuda);
}

}  // namespace sparseops::gpu
