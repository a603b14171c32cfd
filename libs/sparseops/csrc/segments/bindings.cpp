// Reductions of rows over segments: their schema, and their CPU implementation.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <vector>

#include "common/offsets.h"
#include "segments/segment_tensors.h"
#include "segments/segments_cpu.h"

namespace sparseops {

using at::Tensor;
using namespace common;

Tensor segment_reduce(const Tensor& values, const Tensor& offsets, int64_t reduction) {
  check_offsets<int64_t>("offsets", offsets, values.size(0));
  Tensor out = at::empty({offsets.size(0) - 1, values.size(1)}, values.options());
  auto reduce = [&](auto value) {
    using Value = decltype(value);
    segment_reduce_cpu(values.const_data_ptr<Value>(), offsets.const_data_ptr<int64_t>(), out.size(0), out.size(1),
                       static_cast<Reduction>(reduction), out.mutable_data_ptr<Value>());
  };
  switch (values.scalar_type()) {
    case at::kFloat: reduce(float{}); break;
    case at::kDouble: reduce(double{}); break;
    case at::kHalf: reduce(c10::Half{}); break;
    case at::kBFloat16: reduce(c10::BFloat16{}); break;
    default: TORCH_CHECK_VALUE(false, "values must be floating point, got ", values.scalar_type());
  }
  return out;
}

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("segment_reduce(Tensor values, Tensor offsets, int reduction) -> Tensor", as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) { m.impl("segment_reduce", &segment_reduce); }

}  // namespace sparseops
