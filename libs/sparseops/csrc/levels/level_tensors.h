// What the CPU and CUDA implementations of levels take and give.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "levels/levels.h"

namespace sparseops {

inline ShiftedVoxels shifted(const at::Tensor& coords, const at::Tensor& shifts) {
  return {coords.const_data_ptr<int64_t>(), shifts.const_data_ptr<int64_t>(), shifts.size(1)};
}

inline CoarseLevels levels_of(int64_t n, at::IntArrayRef sizes) {
  TORCH_CHECK_VALUE(sizes.size() <= kMaxLevels, "at most ", kMaxLevels, " coarser levels, got ", sizes.size());
  return coarse_levels(n, sizes.data(), static_cast<int>(sizes.size()));
}

inline int64_t num_rows(const CoarseLevels& levels) {
  int64_t rows = 0;
  for (int l = 0; l < levels.count; ++l) rows += levels.at[l].size;
  return rows;
}

struct RowTensors {
  at::Tensor coarse, parents, starts;

  RowTensors(const at::Tensor& coords, const CoarseLevels& levels) {
    const int64_t rows = num_rows(levels);
    const int64_t last = levels.count > 0 ? levels.at[levels.count - 1].size : 0;
    coarse = at::empty({rows, 4}, coords.options());
    parents = at::empty({levels.count > 0 ? coords.size(0) + rows - last : 0}, coords.options());
    starts = at::empty({rows + levels.count}, coords.options());
  }
};

struct OrderTensors {
  at::Tensor orders, inverses;

  OrderTensors(const at::Tensor& finest, const CoarseLevels& levels) {
    orders = at::empty({finest.size(0) * num_rows(levels)}, finest.options());
    inverses = at::empty({finest.size(0) * num_rows(levels)}, finest.options());
  }
};

}  // namespace sparseops
