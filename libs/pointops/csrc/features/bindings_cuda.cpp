// CUDA implementations of features of neighbours; bindings.cpp has their schemas.
#include <ATen/Functions.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/accumulate.h>
#include <torch/library.h>

#include "features/features_cuda.h"
#include "tensors.h"

namespace pointops {
namespace {

Tensor gather(const Tensor& table, const Tensor& index) {
  const c10::cuda::CUDAGuard guard(table.device());
  Tensor out = at::empty({index.size(0), index.size(1), table.size(1)}, table.options());
  C10_CUDA_CHECK(gpu::gather(floats(table), table.size(0), ints(index), index.numel(), table.size(1),
                             out.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
  return out;
}

gpu::Table table_at(const Tensor& rows, const Tensor& index) { return {floats(rows), rows.size(0), ints(index)}; }

Tensor subtract(const Tensor& a, const Tensor& b, const Tensor& index) {
  const c10::cuda::CUDAGuard guard(a.device());
  Tensor out = at::empty({index.size(0), index.size(1), a.size(1)}, a.options());
  C10_CUDA_CHECK(gpu::subtract(floats(a), table_at(b, index), index.size(0), index.size(1), a.size(1),
                               out.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
  return out;
}

Tensor aggregate(const Tensor& table, const Tensor& position, const Tensor& weight, const Tensor& index) {
  const c10::cuda::CUDAGuard guard(table.device());
  Tensor out = at::empty({index.size(0), table.size(1)}, table.options());
  C10_CUDA_CHECK(gpu::aggregate(table_at(table, index), floats(position), floats(weight), index.size(0), index.size(1),
                                table.size(1), weight.size(2), out.mutable_data_ptr<float>(),
                                c10::cuda::getCurrentCUDAStream()));
  return out;
}

Pair aggregate_backward(const Tensor& table, const Tensor& position, const Tensor& weight, const Tensor& index,
                        const Tensor& grad) {
  const c10::cuda::CUDAGuard guard(table.device());
  Tensor grad_position = at::empty(position.sizes(), position.options());
  Tensor grad_weight = at::empty(weight.sizes(), weight.options());
  C10_CUDA_CHECK(gpu::aggregate_backward(table_at(table, index), floats(position), floats(weight), floats(grad),
                                         index.size(0), index.size(1), table.size(1), weight.size(2),
                                         grad_position.mutable_data_ptr<float>(), grad_weight.mutable_data_ptr<float>(),
                                         c10::cuda::getCurrentCUDAStream()));
  return {grad_position, grad_weight};
}

Tensor edge_sum(const Tensor& table, const Tensor& target, const std::optional<Tensor>& source,
                const std::optional<Tensor>& weight, int64_t rows, int64_t degree, int64_t divisor) {
  const c10::cuda::CUDAGuard guard(table.device());
  const int64_t channels = c10::multiply_integers(table.sizes().slice(1));  // also of a table without rows
  const auto [sorted, order] = at::sort(target, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const Tensor places = order.to(at::kInt);
  const Tensor starts = at::searchsorted(sorted, at::arange(rows + 1, target.options()));
  auto shape = table.sizes().vec();
  shape[0] = rows;
  Tensor out = at::empty(shape, table.options());
  const int64_t width = weight ? weight->size(-1) : 1;
  const gpu::Edges edges{longs(starts), ints(places), ints(source), degree, floats(weight), divisor, width};
  C10_CUDA_CHECK(gpu::edge_sum(floats(table), table.size(0), edges, rows, channels, out.mutable_data_ptr<float>(),
                               c10::cuda::getCurrentCUDAStream()));
  return out;
}

Tensor row_sum(const Tensor& table, const Tensor& source, const Tensor& weight) {
  const c10::cuda::CUDAGuard guard(table.device());
  Tensor out = at::empty({source.size(0), table.size(1)}, table.options());
  const gpu::Edges edges{nullptr, nullptr, ints(source), source.size(1), floats(weight), 1, 1};
  C10_CUDA_CHECK(gpu::edge_sum(floats(table), table.size(0), edges, source.size(0), table.size(1),
                               out.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
  return out;
}

Tensor edge_dot(const Tensor& a, const Tensor& b, const Tensor& index_a, const Tensor& index_b,
                const std::optional<Tensor>& weight) {
  const c10::cuda::CUDAGuard guard(a.device());
  Tensor out = at::empty({index_a.size(0), a.size(1)}, a.options());
  C10_CUDA_CHECK(gpu::edge_dot(table_at(a, index_a), table_at(b, index_b), floats(weight), index_a.size(0), a.size(1),
                               a.size(2), out.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(pointops, CUDA, m) {
  m.impl("gather", gather);
  m.impl("subtract", subtract);
  m.impl("aggregate", aggregate);
  m.impl("aggregate_backward", aggregate_backward);
  m.impl("edge_sum", edge_sum);
  m.impl("row_sum", row_sum);
  m.impl("edge_dot", edge_dot);
}

}  // namespace pointops
