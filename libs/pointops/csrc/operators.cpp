// Shapes, dtypes and devices are checked in Python; here everything is contiguous, float32, int32 (offsets: int64).
#include <torch/library.h>

#include <vector>

TORCH_LIBRARY(pointops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("knn_query(Tensor xyz, Tensor offset, Tensor queries, Tensor query_offset, int k) -> (Tensor, Tensor)",
        as_given);
  m.def(
      "ball_query(Tensor xyz, Tensor offset, Tensor queries, Tensor query_offset, int samples, float min_radius, "
      "float max_radius, Tensor? rank) -> (Tensor, Tensor)", as_given);
  m.def("farthest_point_sampling(Tensor xyz, Tensor offset, Tensor sample_offset, SymInt samples) -> Tensor", as_given);
  m.def("gather(Tensor table, Tensor index) -> Tensor", as_given);
  m.def("subtract(Tensor a, Tensor b, Tensor index) -> Tensor", as_given);
  m.def("aggregate(Tensor table, Tensor position, Tensor weight, Tensor index) -> Tensor", as_given);
  m.def(
      "aggregate_backward(Tensor table, Tensor position, Tensor weight, Tensor index, Tensor grad) -> "
      "(Tensor, Tensor)", as_given);
  // out[row, c] = sum over edges e with target[e] = row of table[source[e], c] * weight[e, c / divisor % width]
  m.def(
      "edge_sum(Tensor table, Tensor target, Tensor? source, Tensor? weight, SymInt rows, SymInt degree, "
      "SymInt divisor) -> Tensor", as_given);
  // the same where row has the edges row * degree …
  m.def("row_sum(Tensor table, Tensor source, Tensor weight) -> Tensor", as_given);
  m.def("edge_dot(Tensor a, Tensor b, Tensor index_a, Tensor index_b, Tensor? weight) -> Tensor", as_given);
}
