// torch.ops.sparseops: the parts of a block of serialized attention before and after the attention itself, as a call
// each: the operators of other folders one after the other, on any device. Shapes are explained in the Python
// functions.
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "conv/activation.h"

namespace sparseops {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;
using Tensors = c10::List<OptionalTensor>;

template <typename Function>
c10::TypedOperatorHandle<Function> find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

Tensor required(const Tensors& tensors, int64_t index) {
  const OptionalTensor tensor = tensors.get(index);
  TORCH_CHECK_VALUE(tensor.has_value(), "tensor ", index, " of a block must not be None");
  return *tensor;
}

Tensor convolve(const Tensor& features, const Tensors& parameters, int64_t out_channels, const OptionalTensor& rows,
                const OptionalTensor& order, const OptionalTensor& residual, Activation activation) {
  using Plain = Tensor(const Tensor&, const Tensor&, int64_t, const OptionalTensor&, const OptionalTensor&,
                       const OptionalTensor&, int64_t);
  using Grouped = Tensor(const Tensor&, const Tensor&, int64_t, const OptionalTensor&, const OptionalTensor&,
                         const OptionalTensor&, const OptionalTensor&, int64_t);
  static const auto plain = find<Plain>("sparseops::sparse_conv");
  static const auto grouped = find<Grouped>("sparseops::sparse_conv_grouped");
  const Tensor weight = required(parameters, 0);
  const OptionalTensor bias = parameters.get(1);
  const auto number = static_cast<int64_t>(activation);
  return order ? grouped.call(features, weight, out_channels, rows, order, bias, residual, number)
               : plain.call(features, weight, out_channels, rows, bias, residual, number);
}

std::tuple<Tensor, Tensor> block_input(const Tensor& x, const Tensor& positional, const Tensor& rows,
                                       const OptionalTensor& order, const Tensor& into, const Tensors& conv,
                                       const Tensors& norms, at::ArrayRef<double> eps, const Tensors& qkv) {
  using Norm = std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const OptionalTensor&, const OptionalTensor&,
                                          double, const OptionalTensor&, const OptionalTensor&, double);
  static const auto norm = find<Norm>("sparseops::residual_norm");
  TORCH_CHECK_VALUE(x.dim() == 2 && eps.size() == 2 && conv.size() == 2 && norms.size() == 4 && qkv.size() == 2,
                    "x must be (V, C), got ", x.sizes());
  const int64_t channels = x.size(1);
  Tensor position = convolve(positional, conv, channels, rows, order, std::nullopt, Activation::kNone);
  const auto [sum, normed] =
      norm.call(position, x, norms.get(0), norms.get(1), eps[0], norms.get(2), norms.get(3), eps[1]);
  position.reset();  // before more memory is taken
  return {sum, convolve(normed, qkv, 3 * channels, into, std::nullopt, std::nullopt, Activation::kNone)};
}

Tensor block_output(const Tensor& attended, const Tensor& x, const Tensor& out_of, const Tensors& proj,
                    const Tensors& norm_parameters, double eps, const Tensors& fc1, const Tensors& fc2,
                    int64_t hidden_channels) {
  using Norm = Tensor(const Tensor&, const OptionalTensor&, const OptionalTensor&, double, const OptionalTensor&);
  static const auto norm = find<Norm>("sparseops::layer_norm");
  TORCH_CHECK_VALUE(
      x.dim() == 2 && proj.size() == 2 && norm_parameters.size() == 2 && fc1.size() == 2 && fc2.size() == 2,
      "x must be (V, C), got ", x.sizes());
  const int64_t channels = x.size(1);
  const Tensor sum = convolve(attended, proj, channels, out_of, std::nullopt, x, Activation::kNone);
  Tensor normed = norm.call(sum, norm_parameters.get(0), norm_parameters.get(1), eps, std::nullopt);
  const Tensor hidden =
      convolve(normed, fc1, hidden_channels, std::nullopt, std::nullopt, std::nullopt, Activation::kGelu);
  normed.reset();
  return convolve(hidden, fc2, channels, std::nullopt, std::nullopt, sum, Activation::kNone);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def(
      "block_input(Tensor x, Tensor positional, Tensor rows, Tensor? order, Tensor into, Tensor?[] conv, "
      "Tensor?[] norms, float[] eps, Tensor?[] qkv) -> (Tensor, Tensor)",
      as_given);
  m.def(
      "block_output(Tensor attended, Tensor x, Tensor out_of, Tensor?[] proj, Tensor?[] norm, float eps, "
      "Tensor?[] fc1, Tensor?[] fc2, int hidden_channels) -> Tensor",
      as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CompositeExplicitAutograd, m) {
  m.impl("block_input", &block_input);
  m.impl("block_output", &block_output);
}

}  // namespace sparseops
