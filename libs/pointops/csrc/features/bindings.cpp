// Features of neighbours: their schemas, and their CPU implementations.
#include <c10/util/accumulate.h>
#include <torch/library.h>

#include "features/features_cpu.h"
#include "tensors.h"

namespace pointops {
namespace {

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

TORCH_LIBRARY_FRAGMENT(pointops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("gather(Tensor table, Tensor index) -> Tensor", as_given);
  m.def("subtract(Tensor a, Tensor b, Tensor index) -> Tensor", as_given);
  m.def("aggregate(Tensor table, Tensor position, Tensor weight, Tensor index) -> Tensor", as_given);
  m.def(
      "aggregate_backward(Tensor table, Tensor position, Tensor weight, Tensor index, Tensor grad) -> "
      "(Tensor, Tensor)",
      as_given);
  // out[row, c] = sum over edges e with target[e] = row of table[source[e], c] * weight[e, c / divisor % width]
  m.def(
      "edge_sum(Tensor table, Tensor target, Tensor? source, Tensor? weight, SymInt rows, SymInt degree, "
      "SymInt divisor) -> Tensor",
      as_given);
  // the same where row has the edges row * degree …
  m.def("row_sum(Tensor table, Tensor source, Tensor weight) -> Tensor", as_given);
  m.def("edge_dot(Tensor a, Tensor b, Tensor index_a, Tensor index_b, Tensor? weight) -> Tensor", as_given);
}

TORCH_LIBRARY_IMPL(pointops, CPU, m) {
  m.impl("gather", gather);
  m.impl("subtract", subtract);
  m.impl("aggregate", aggregate);
  m.impl("aggregate_backward", aggregate_backward);
  m.impl("edge_sum", edge_sum);
  m.impl("row_sum", row_sum);
  m.impl("edge_dot", edge_dot);
}

}  // namespace pointops
