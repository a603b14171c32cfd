// Checks of the tensors by which relative positions bias attention.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace sparseops {

// How far a table (3 * (2 * bound + 1), heads) reaches.
inline int64_t bound_of(const at::Tensor& table) { return (table.size(0) / 3 - 1) / 2; }

// There must be a table entry for every distance and voxels for every row, or reads would leave them.
inline void check_positions(const std::optional<at::Tensor>& table, const std::optional<at::Tensor>& voxels,
                            int64_t rows, int64_t heads) {
  TORCH_CHECK_VALUE(table.has_value() == voxels.has_value(), "table and voxels must be given together");
  if (!table) return;
  TORCH_CHECK_VALUE(table->scalar_type() == at::kFloat && table->is_contiguous() && table->dim() == 2 &&
                        table->size(0) % 6 == 3 && table->size(1) == heads,
                    "table must be contiguous float32 (3 * (2 * bound + 1), ", heads, "), got ", table->scalar_type(),
                    " ", table->sizes());
  TORCH_CHECK_VALUE(
      voxels->scalar_type() == at::kInt && voxels->is_contiguous() && voxels->sizes() == at::IntArrayRef({rows, 3}),
      "voxels must be contiguous int32 (", rows, ", 3), got ", voxels->scalar_type(), " ", voxels->sizes());
}

}  // namespace sparseops
