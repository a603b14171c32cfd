#include <c10/util/accumulate.h>
#include <torch/library.h>

#include "cpu.h"
#include "operators.h"

namespace pointops {
namespace {

cpu::Clouds clouds(const Tensor& offset) { return {longs(offset), offset.size(0)}; }

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

Tensor farthest_point_sampling(const Tensor& xyz, const Tensor& offset, const Tensor& sample_offset, int64_t samples) {
  Tensor index = at::empty({samples}, xyz.options().dtype(at::kInt));
  cpu::farthest_point_sampling(floats(xyz), clouds(offset), clouds(sample_offset), index.mutable_data_ptr<int32_t>());
  return index;
}

Tensor gather(const Tensor& table, const Tensor& index) {
  Tensor out = at::empty({index.size(0), index.size(1), table.size(1)}, table.options());
  cpu::gather(floats(table), ints(index), index.numel(), table.size(1), out.mutable_data_ptr<float>());
  return out;
}

Tensor subtract(const Tensor& a, const Tensor& b, const Tensor& index) {
  Tensor out = at::empty({index.size(0), index.size(1), a.size(1)}, a.options());
  cpu::subtract(floats(a), floats(b), ints(index), index.size(0), index.size(1), a.size(1),
                out.mutable_data_ptr<float>());
  return out;
}

Tensor aggregate(const Tensor& table, const Tensor& position, const Tensor& weight, const Tensor& index) {
  Tensor out = at::empty({index.size(0), table.size(1)}, table.options());
  cpu::aggregate(floats(table), floats(position), floats(weight), ints(index), index.size(0), index.size(1),
                 table.size(1), weight.size(2), out.mutable_data_ptr<float>());
  return out;
}

Pair aggregate_backward(const Tensor& table, const Tensor& position, const Tensor& weight, const Tensor& index,
                        const Tensor& grad) {
  Tensor grad_position = at::empty(position.sizes(), position.options());
  Tensor grad_weight = at::empty(weight.sizes(), weight.options());
  cpu::aggregate_backward(floats(table), floats(position), floats(weight), ints(index), floats(grad), index.size(0),
                          index.size(1), table.size(1), weight.size(2), grad_position.mutable_data_ptr<float>(),
                          grad_weight.mutable_data_ptr<float>());
  return {grad_position, grad_weight};
}

Tensor edge_sum(const Tensor& table, const Tensor& target, const std::optional<Tensor>& source,
                const std::optional<Tensor>& weight, int64_t rows, int64_t degree, int64_t divisor) {
  const int64_t channels = c10::multiply_integers(table.sizes().slice(1));  // also of a table without rows
  Tensor starts = at::empty({rows + 1}, target.options().dtype(at::kLong));
  Tensor places = at::empty({target.numel()}, target.options());
  cpu::invert(ints(target), target.numel(), rows, starts.mutable_data_ptr<int64_t>(),
              places.mutable_data_ptr<int32_t>());
  auto shape = table.sizes().vec();
  shape[0] = rows;
  Tensor out = at::empty(shape, table.options());
  const int64_t width = weight ? weight->size(-1) : 1;
  cpu::edge_sum(floats(table), {longs(starts), ints(places), ints(source), degree, floats(weight), divisor, width},
                rows, channels, out.mutable_data_ptr<float>());
  return out;
}

Tensor row_sum(const Tensor& table, const Tensor& source, const Tensor& weight) {
  Tensor out = at::empty({source.size(0), table.size(1)}, table.options());
  cpu::edge_sum(floats(table), {nullptr, nullptr, ints(source), source.size(1), floats(weight), 1, 1}, source.size(0),
                table.size(1), out.mutable_data_ptr<float>());
  return out;
}

Tensor edge_dot(const Tensor& a, const Tensor& b, const Tensor& index_a, const Tensor& index_b,
                const std::optional<Tensor>& weight) {
  Tensor out = at::empty({index_a.size(0), a.size(1)}, a.options());
  cpu::edge_dot(floats(a), floats(b), ints(index_a), ints(index_b), floats(weight), index_a.size(0), a.size(1),
                a.size(2), out.mutable_data_ptr<float>());
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(pointops, CPU, m) {
  m.impl("knn_query", knn_query);
  m.impl("ball_query", ball_query);
  m.impl("farthest_point_sampling", farthest_point_sampling);
  m.impl("gather", gather);
  m.impl("subtract", subtract);
  m.impl("aggregate", aggregate);
  m.impl("aggregate_backward", aggregate_backward);
  m.impl("edge_sum", edge_sum);
  m.impl("row_sum", row_sum);
  m.impl("edge_dot", edge_dot);
}

}  // namespace pointops
