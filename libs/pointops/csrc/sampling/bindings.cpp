// Farthest point sampling: its schema, and its CPU implementation.
#include <torch/library.h>

#include "sampling/sampling_cpu.h"
#include "search/clouds.h"

namespace pointops {
namespace {

Tensor farthest_point_sampling(const Tensor& xyz, const Tensor& offset, const Tensor& sample_offset, int64_t samples) {
  Tensor index = at::empty({samples}, xyz.options().dtype(at::kInt));
  cpu::farthest_point_sampling(floats(xyz), clouds(offset), clouds(sample_offset), index.mutable_data_ptr<int32_t>());
  return index;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pointops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("farthest_point_sampling(Tensor xyz, Tensor offset, Tensor sample_offset, SymInt samples) -> Tensor", as_given);
}

TORCH_LIBRARY_IMPL(pointops, CPU, m) { m.impl("farthest_point_sampling", farthest_point_sampling); }

}  // namespace pointops
