// The ball query: its schema, and its CPU implementation.
#include <ATen/Functions.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <limits>
#include <tuple>
#include <vector>

#include "ball_query/ball_query_cpu.h"

namespace pointgroup_ops {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor> ball_query_cpu(const Tensor& coords, const Tensor& batch_idxs, const Tensor& batch_offsets,
                                          double radius) {
  const Points points{coords.const_data_ptr<float>(), batch_idxs.const_data_ptr<int32_t>(),
                      batch_offsets.const_data_ptr<int32_t>(), coords.size(0), batch_offsets.size(0) - 1};
  const std::string problem = check_clouds(points);
  TORCH_CHECK_VALUE(problem.empty(), problem);
  Tensor start_len = at::empty({points.num_points, 2}, batch_idxs.options());
  Tensor idxs;
  ball_query(points, static_cast<float>(radius), start_len.mutable_data_ptr<int32_t>(), [&](int64_t num_pairs) {
    TORCH_CHECK_VALUE(num_pairs <= std::numeric_limits<int32_t>::max(), "radius ", radius, " gives ", num_pairs,
                      " neighbours in all, more than int32 counts; use a smaller one");
    idxs = at::empty({num_pairs}, batch_idxs.options());
    return idxs.mutable_data_ptr<int32_t>();
  });
  return {idxs, start_len};
}

}  // namespace
}  // namespace pointgroup_ops

TORCH_LIBRARY_FRAGMENT(pointgroup_ops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("ball_query(Tensor coords, Tensor batch_idxs, Tensor batch_offsets, float radius) -> (Tensor, Tensor)",
        as_given);
}

TORCH_LIBRARY_IMPL(pointgroup_ops, CPU, m) { m.impl("ball_query", pointgroup_ops::ball_query_cpu); }
