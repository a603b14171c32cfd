// Tensors of connected components; the Python function explains their shapes, and checks them.
#pragma once

#include <ATen/core/Tensor.h>

#include "components/components.h"

namespace sparseops {

inline Nodes nodes_of(const at::Tensor& neighbours, const at::Tensor& offsets, const at::Tensor& labels) {
  return {neighbours.const_data_ptr<int32_t>(), offsets.const_data_ptr<int64_t>(), labels.const_data_ptr<int64_t>(),
          neighbours.size(1), labels.numel()};
}

}  // namespace sparseops
