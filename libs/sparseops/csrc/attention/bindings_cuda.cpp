// CUDA implementation of attention inside patches; bindings.cpp has its schema.
#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "attention/attention_cuda.h"
#include "attention/attention_tensors.h"
#include "attention/positions.h"
#include "common/tensors_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;
using namespace common;

constexpr int64_t kMaxHeads = 65535;  // of a grid

AttentionType type_for(const Tensor& qkv) {
  switch (qkv.scalar_type()) {
    case at::kHalf: return AttentionType::kHalf;
    case at::kBFloat16: return AttentionType::kBfloat16;
    case at::kFloat: return AttentionType::kFloat;
    default: TORCH_CHECK_VALUE(false, "qkv must be float32, float16 or bfloat16, got ", qkv.scalar_type());
  }
}

}  // namespace

Tensor patch_attention(const Tensor& given, const Tensor& cu_seqlens, double scale, const std::optional<Tensor>& table,
                       const std::optional<Tensor>& voxels) {
  check_positions(table, voxels, given.size(0), given.size(2));
  const int64_t rows = given.size(0), heads = given.size(2), dim = given.size(3), patches = cu_seqlens.size(0) - 1;
  TORCH_CHECK_VALUE(dim <= kMaxHeadDim && heads <= kMaxHeads, "qkv must have at most ", kMaxHeads, " heads of ",
                    kMaxHeadDim, " channels, got ", given.sizes());
  TORCH_CHECK_VALUE(rows + kMaxTileRows * patches <= INT32_MAX, "qkv has too many rows or patches, got ", rows, " and ",
                    patches);
  const c10::cuda::CUDAGuard guard(given.device());
  const Tensor qkv = aligned_to_16(given), out = allocate({rows, heads * dim}, qkv.options());
  AttentionArguments arguments{};
  arguments.qkv = qkv.const_data_ptr();
  arguments.cu_seqlens = cu_seqlens.const_data_ptr<int32_t>();
  arguments.out = out.mutable_data_ptr();
  arguments.num_rows = static_cast<int>(rows);
  arguments.num_patches = static_cast<int>(patches);
  arguments.heads = static_cast<int>(heads);
  arguments.dim = static_cast<int>(dim);
  arguments.scale = static_cast<float>(scale);
  if (table) {
    arguments.table = table->const_data_ptr<float>();
    arguments.voxels = voxels->const_data_ptr<int32_t>();
    arguments.bound = static_cast<int>(bound_of(*table));
    TORCH_CHECK_VALUE(arguments.bound <= kMaxBound, "table must reach at most ", kMaxBound, " voxels far, got ",
                      arguments.bound);
  }
  C10_CUDA_CHECK(attend(type_for(qkv), arguments, c10::cuda::getCurrentCUDAStream()));
  return out;
}

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) { m.impl("patch_attention", &patch_attention); }

}  // namespace sparseops::gpu
