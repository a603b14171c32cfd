// Breadth-first clustering: its schema, and its CPU implementation.
#include <ATen/Functions.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "bfs_cluster/bfs_cluster_cpu.h"

namespace pointgroup_ops {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor> bfs_cluster_cpu(const Tensor& labels, const Tensor& idxs, const Tensor& start_len,
                                           int64_t threshold) {
  const Neighbours neighbours{idxs.const_data_ptr<int32_t>(), start_len.const_data_ptr<int32_t>(), idxs.size(0),
                              start_len.size(0)};
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

TORCH_LIBRARY_FRAGMENT(pointgroup_ops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("bfs_cluster(Tensor labels, Tensor idxs, Tensor start_len, int threshold) -> (Tensor, Tensor)", as_given);
}

TORCH_LIBRARY_IMPL(pointgroup_ops, CPU, m) { m.impl("bfs_cluster", pointgroup_ops::bfs_cluster_cpu); }
