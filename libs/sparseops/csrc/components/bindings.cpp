// Connected components: their schema, and their CPU implementation.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <vector>

#include "common/offsets.h"
#include "components/component_tensors.h"
#include "components/components_cpu.h"

namespace sparseops {
namespace {

using at::Tensor;

Tensor connected_components(const Tensor& neighbours, const Tensor& offsets, const Tensor& labels) {
  common::check_offsets<int64_t>("offsets", offsets, labels.numel());
  const Tensor lowest = at::empty_like(labels);
  connected_components_cpu(nodes_of(neighbours, offsets, labels), neighbours.size(0),
                           lowest.mutable_data_ptr<int64_t>());
  return lowest;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("connected_components(Tensor neighbours, Tensor offsets, Tensor labels) -> Tensor", as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) { m.impl("connected_components", &connected_components); }

}  // namespace sparseops
