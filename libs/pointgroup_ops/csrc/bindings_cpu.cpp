// Declares the operators and binds those of the processor.
#include <ATen/Functions.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "cpu.h"

namespace pointgroup_ops {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor> ball_query_cpu(
    const Tensor& coords, const Tensor& batch_idxs, const Tensor& batch_offsets, double radius) {
  const Points points{
      coords.const_data_ptr<float>(),
      batch_idxs.const_data_ptr<int32_t>(),
      batch_offsets.const_data_ptr<int32_t>(),
      coords.size(0),
      batch_offsets.size(0) - 1};
  const std::string problem = check_clouds(points);
  TORCH_CHECK_VALUE(problem.empty(), problem);
  Tensor start_len = at::empty({points.num_points, 2}, batch_idxs.options());
  Tensor idxs;
  ball_query(points, static_cast<float>(radius), start_len.mutable_data_ptr<int32_t>(), [&](int64_t num_pairs) {
    TORCH_CHECK_VALUE(
        num_pairs <= std::numeric_limits<int32_t>::max(),
        "radius ", radius, " gives ", num_pairs, " neighbours in all, more than int32 counts; use a smaller one");
    idxs = at::empty({num_pairs}, batch_idxs.options());
    return idxs.mutable_data_ptr<int32_t>();
  });
  return {idxs, start_len};
}

std::tuple<Tensor, Tensor> bfs_cluster_cpu(
    const Tensor& labels, const Tensor& idxs, const Tensor& start_len, int64_t threshold) {
  const Neighbours neighbours{
      idxs.const_data_ptr<int32_t>(), start_len.const_data_ptr<int32_t>(), idxs.size(0), start_len.size(0)};
  const std::string problem = check_neighbours(neighbours);
  TORCH_CHECK_VALUE(problem.empty(), problem);
  const Clusters clusters = bfs_cluster(labels.const_data_ptr<int32_t>(), neighbours, threshold);

  const int64_t num_rows = static_cast<int64_t>(clusters.points.size());
  const int64_t num_clusters = static_cast<int64_t>(clusters.offsets.size()) - 1;
  Tensor rows = at::empty({num_rows, 2}, labels.options());
  Tensor offsets = at::empty({num_clusters + 1}, labels.options());
  std::copy(clusters.offsets.begin(), clusters.offsets.end(), offsets.mutable_data_ptr<int32_t>());
  int32_t* row = rows.mutable_data_ptr<int32_t>();
  for (int64_t cluster = 0; cluster < num_clusters; ++cluster) {
    for (int32_t i = clusters.offsets[cluster]; i < clusters.offsets[cluster + 1]; ++i) {
      *row++ = static_cast<int32_t>(cluster);
      *row++ = clusters.points[i];
    }
  }
  return {rows, offsets};
}

}  // namespace
}  // namespace pointgroup_ops

TORCH_LIBRARY(pointgroup_ops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("ball_query(Tensor coords, Tensor batch_idxs, Tensor batch_offsets, float radius) -> (Tensor, Tensor)",
        as_given);
  m.def("bfs_cluster(Tensor labels, Tensor idxs, Tensor start_len, int threshold) -> (Tensor, Tensor)", as_given);
}

TORCH_LIBRARY_IMPL(pointgroup_ops, CPU, m) {
  m.impl("ball_query", pointgroup_ops::ball_query_cpu);
  m.impl("bfs_cluster", pointgroup_ops::bfs_cluster_cpu);
}
