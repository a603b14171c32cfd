// Moments of neighbours: their schema, and their CPU implementation.
#include <torch/library.h>

#include "moments/moments_cpu.h"
#include "moments/moments_tensors.h"

namespace pointops {
namespace {

Tensor neighbour_moments(const Tensor& xyz, const Tensor& queries, const Tensor& index, int64_t used) {
  Tensor out = empty_moments(queries);
  cpu::neighbour_moments(neighbourhoods(xyz, queries, index, used), out.mutable_data_ptr<double>());
  return out;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pointops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("neighbour_moments(Tensor xyz, Tensor queries, Tensor index, int used) -> Tensor", as_given);
}

TORCH_LIBRARY_IMPL(pointops, CPU, m) { m.impl("neighbour_moments", neighbour_moments); }

}  // namespace pointops
