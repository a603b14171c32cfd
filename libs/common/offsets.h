// Checks of cumulative counts, on the CPU.
#pragma once

#include <ATen/core/Tensor.h>

namespace common {

// Offsets must ascend from 0 to `end`, or reads would leave the tensor.
template <typename Offset>
void check_offsets(const char* name, const at::Tensor& offsets, int64_t end) {
  const Offset* at = offsets.const_data_ptr<Offset>();
  const int64_t last = offsets.numel() - 1;
  TORCH_CHECK_VALUE(at[0] == 0 && at[last] == end, name, " must begin with 0 and end with ", end, ", got ", at[0],
                    " and ", at[last]);
  for (int64_t i = 0; i < last; ++i) {
    TORCH_CHECK_VALUE(at[i] <= at[i + 1], name, " must ascend, got ", at[i], " before ", at[i + 1], " at ", i);
  }
}

}  // namespace common
