// Tables of kernel maps on a GPU, as tensors.
#pragma once

#include <ATen/core/Tensor.h>

namespace sparseops::gpu {

constexpr int64_t kMaxRows = int64_t{1} << 30;

inline void check_rows(const at::Tensor& rows) {
  TORCH_CHECK_VALUE(
      rows.dim() == 2 && rows.scalar_type() == at::kInt && rows.is_contiguous() && rows.size(1) < kMaxRows,
      "rows must be contiguous int32 (K, num_out), got ", rows.scalar_type(), " ", rows.sizes());
}

}  // namespace sparseops::gpu
