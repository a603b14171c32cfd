// What the CPU and CUDA implementations of torch.ops.pointops share. Shapes, dtypes and devices are checked in Python;
// here everything is contiguous, float32, int32 (offsets: int64).
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <optional>
#include <tuple>
#include <vector>

namespace pointops {

using at::Tensor;
using Pair = std::tuple<Tensor, Tensor>;

inline const float* floats(const Tensor& tensor) { return tensor.const_data_ptr<float>(); }
inline const float* floats(const std::optional<Tensor>& tensor) { return tensor ? floats(*tensor) : nullptr; }
inline const int32_t* ints(const Tensor& tensor) { return tensor.const_data_ptr<int32_t>(); }
inline const int32_t* ints(const std::optional<Tensor>& tensor) { return tensor ? ints(*tensor) : nullptr; }
inline const int64_t* longs(const Tensor& tensor) { return tensor.const_data_ptr<int64_t>(); }

// (m, k) of indices and of distances, like xyz
inline Pair empty_neighbours(const Tensor& xyz, int64_t queries, int64_t k) {
  return {at::empty({queries, k}, xyz.options().dtype(at::kInt)), at::empty({queries, k}, xyz.options())};
}

}  // namespace pointops
