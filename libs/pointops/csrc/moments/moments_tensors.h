// What the CPU and CUDA implementations of moments of neighbours take and give.
#pragma once

#include "moments/moments.h"
#include "tensors.h"

namespace pointops {

inline Neighbourhoods neighbourhoods(const Tensor& xyz, const Tensor& queries, const Tensor& index, int64_t used) {
  return {floats(xyz), xyz.size(0), floats(queries), ints(index), index.size(0), index.size(1), used};
}

inline Tensor empty_moments(const Tensor& queries) {
  return at::empty({kMoments, queries.size(0)}, queries.options().dtype(at::kDouble));
}

}  // namespace pointops
