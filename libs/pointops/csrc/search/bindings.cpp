// Queries for neighbours: their schemas, and their CPU implementations.
#include <torch/library.h>

#include "search/clouds.h"

namespace pointops {
namespace {

Pair knn_query(const Tensor& xyz, const Tensor& offset, const Tensor& queries, const Tensor& query_offset, int64_t k) {
  auto [index, distance2] = empty_neighbours(xyz, queries.size(0), k);
  cpu::knn_query(floats(xyz), clouds(offset), floats(queries), clouds(query_offset), static_cast<int>(k),
                 index.mutable_data_ptr<int32_t>(), distance2.mutable_data_ptr<float>());
  return {index, distance2};
}

Pair ball_query(const Tensor& xyz, const Tensor& offset, const Tensor& queries, const Tensor& query_offset,
                int64_t samples, double min_radius, double max_radius, const std::optional<Tensor>& rank) {
  auto [index, distance2] = empty_neighbours(xyz, queries.size(0), samples);
  cpu::ball_query(floats(xyz), clouds(offset), floats(queries), clouds(query_offset), static_cast<int>(samples),
                  static_cast<float>(min_radius), static_cast<float>(max_radius), ints(rank),
                  index.mutable_data_ptr<int32_t>(), distance2.mutable_data_ptr<float>());
  return {index, distance2};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pointops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("knn_query(Tensor xyz, Tensor offset, Tensor queries, Tensor query_offset, int k) -> (Tensor, Tensor)",
        as_given);
  m.def(
      "ball_query(Tensor xyz, Tensor offset, Tensor queries, Tensor query_offset, int samples, float min_radius, "
      "float max_radius, Tensor? rank) -> (Tensor, Tensor)",
      as_given);
}

TORCH_LIBRARY_IMPL(pointops, CPU, m) {
  m.impl("knn_query", knn_query);
  m.impl("ball_query", ball_query);
}

}  // namespace pointops
