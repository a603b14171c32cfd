// Parts of networks that are other folders' operators one after the other, for a device whose operators are `Device`'s:
// a call each, so that the host keeps ahead of a GPU. Shapes are explained in the Python functions.
#pragma once

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "conv/activation.h"

namespace sparseops {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;
using Tensors = c10::List<OptionalTensor>;

// A weight and a bias, of a convolution, a linear layer or a norm.
struct Parameters {
  OptionalTensor weight, bias;
};

// `list` has so many of them side by side.
inline std::vector<Parameters> pairs_of(const Tensors& list, size_t count) {
  TORCH_CHECK_VALUE(list.size() == 2 * count, "a weight and a bias each are ", 2 * count, " parameters, got ",
                    list.size());
  std::vector<Parameters> pairs(count);
  for (size_t i = 0; i < count; ++i) pairs[i] = {list.get(2 * i), list.get(2 * i + 1)};
  return pairs;
}

// The rows that a convolution reads, and their order if they are grouped.
struct Rows {
  OptionalTensor rows, order;
};

template <typename Device>
Tensor convolved(const Tensor& features, const Parameters& parameters, int64_t out_channels, const Rows& table = {},
                 const OptionalTensor& residual = std::nullopt, Activation activation = Activation::kNone) {
  TORCH_CHECK_VALUE(parameters.weight.has_value(), "the weight of a convolution must not be None");
  return Device::sparse_conv(features, *parameters.weight, out_channels, table.rows, table.order, parameters.bias,
                             residual, static_cast<int64_t>(activation));
}

// A block of serialized attention before its attention; parameters of conv, norm0, norm1, qkv.
template <typename Device>
std::tuple<Tensor, Tensor> before_attention(const Tensor& x, const Tensor& positional, const Rows& table,
                                            const Tensor& into, const Parameters* parts, const double* eps) {
  const int64_t channels = x.size(1);
  Tensor position = convolved<Device>(positional, parts[0], channels, table);
  const auto [sum, normed] = Device::residual_norm(position, x, parts[1].weight, parts[1].bias, eps[0], parts[2].weight,
                                                   parts[2].bias, eps[1]);
  position.reset();  // before more memory is taken
  return {sum, convolved<Device>(normed, parts[3], 3 * channels, {into, std::nullopt})};
}

// A block after its attention; parameters of proj, norm2, fc1, fc2.
template <typename Device>
Tensor after_attention(Tensor attended, Tensor x, const Tensor& out_of, const Parameters* parts, double eps,
                       int64_t hidden_channels) {
  const int64_t channels = x.size(1);
  const Tensor sum = convolved<Device>(attended, parts[0], channels, {out_of, std::nullopt}, x);
  attended.reset();
  x.reset();
  Tensor normed = Device::layer_norm(sum, parts[1].weight, parts[1].bias, eps, std::nullopt);
  const Tensor hidden = convolved<Device>(normed, parts[2], hidden_channels, {}, std::nullopt, Activation::kGelu);
  normed.reset();
  return convolved<Device>(hidden, parts[3], channels, {}, sum);
}

inline void check_matrix(const Tensor& x) { TORCH_CHECK_VALUE(x.dim() == 2, "x must be (V, C), got ", x.sizes()); }

template <typename Device>
std::tuple<Tensor, Tensor> block_input(const Tensor& x, const Tensor& positional, const Tensor& rows,
                                       const OptionalTensor& order, const Tensor& into, const Tensors& parameters,
                                       at::ArrayRef<double> eps) {
  check_matrix(x);
  TORCH_CHECK_VALUE(eps.size() == 2, "two norms have two eps, got ", eps.size());
  return before_attention<Device>(x, positional, {rows, order}, into, pairs_of(parameters, 4).data(), eps.data());
}

template <typename Device>
Tensor block_output(const Tensor& attended, const Tensor& x, const Tensor& out_of, const Tensors& parameters,
                    double eps, int64_t hidden_channels) {
  check_matrix(x);
  return after_attention<Device>(attended, x, out_of, pairs_of(parameters, 4).data(), eps, hidden_channels);
}

// Blocks one after the other. `parameters` are a block's eight pairs after the other's, `numbers` each one's eps of
// three norms and scale of attention.
template <typename Device>
Tensor attention_blocks(const Tensor& x, const Tensor& positional, const Tensor& rows, const OptionalTensor& order,
                        at::TensorList into, at::TensorList out_of, at::TensorList cu_seqlens,
                        const Tensors& parameters, at::ArrayRef<double> numbers, int64_t heads, int64_t hidden_channels,
                        std::optional<at::ScalarType> cast) {
  check_matrix(x);
  const size_t count = into.size();
  TORCH_CHECK_VALUE(out_of.size() == count && cu_seqlens.size() == count && numbers.size() == 4 * count, count,
                    " blocks need as many maps and four numbers each, got ", out_of.size(), ", ", cu_seqlens.size(),
                    " and ", numbers.size());
  TORCH_CHECK_VALUE(heads > 0 && x.size(1) % heads == 0, "channels must be a multiple of the ", heads, " heads, got ",
                    x.size(1));
  const std::vector<Parameters> pairs = pairs_of(parameters, 8 * count);
  Tensor y = x, place = positional;
  for (size_t b = 0; b < count; ++b) {
    const Parameters* parts = pairs.data() + 8 * b;
    const double* of_block = numbers.data() + 4 * b;
    auto [sum, qkv] = before_attention<Device>(y, place, {rows, order}, into[b], parts, of_block);
    y.reset();
    place.reset();
    qkv = qkv.view({qkv.size(0), 3, heads, x.size(1) / heads});
    if (cast) qkv = qkv.to(*cast);
    Tensor attended = Device::patch_attention(qkv, cu_seqlens[b], of_block[3]);
    qkv.reset();  // before the MLP takes memory
    if (cast) attended = attended.to(x.scalar_type());
    y = place = after_attention<Device>(std::move(attended), std::move(sum), out_of[b], parts + 4, of_block[2],
                                        hidden_channels);
  }
  return y;
}

// Residual blocks one after the other: two convolutions along a map and a shortcut, which a linear layer may project;
// three pairs each, the last of None for a shortcut as it is.
template <typename Device>
Tensor residual_blocks(const Tensor& x, const Tensor& rows, const OptionalTensor& order, const Tensors& parameters,
                       int64_t channels) {
  const Rows table{rows, order};
  const std::vector<Parameters> pairs = pairs_of(parameters, parameters.size() / 6 * 3);
  Tensor y = x;
  for (size_t b = 0; b < pairs.size(); b += 3) {
    const Tensor shortcut = pairs[b + 2].weight ? convolved<Device>(y, pairs[b + 2], channels) : y;
    y = convolved<Device>(y, pairs[b], channels, table, std::nullopt, Activation::kRelu);
    y = convolved<Device>(y, pairs[b + 1], channels, table, shortcut, Activation::kRelu);
  }
  return y;
}

// What a batch norm scales and shifts by.
struct BatchNorm {
  OptionalTensor weight, bias, mean, variance;
  double eps;
};

// A linear layer, the maximum over the rows of each segment, a batch norm, a GELU.
template <typename Device>
Tensor pool(const Tensor& x, const Tensor& starts, const Tensors& linear, const Tensors& norm, double eps,
            int64_t channels) {
  TORCH_CHECK_VALUE(norm.size() == 4, "a batch norm has 4 parameters, got ", norm.size());
  const Tensor projected = convolved<Device>(x, pairs_of(linear, 1)[0], channels);
  return Device::pooled(projected, starts, {norm.get(0), norm.get(1), norm.get(2), norm.get(3), eps});
}

// Two linear layers that end in a GELU: of coarse rows, which every row then takes from its parent, and of `skip`;
// their sum, and that of `skip`.
template <typename Device>
std::tuple<Tensor, Tensor> unpool(const Tensor& x, const Tensor& skip, const Tensor& parents, const Tensors& parameters,
                                  int64_t channels) {
  const std::vector<Parameters> pairs = pairs_of(parameters, 2);
  const Tensor coarse = convolved<Device>(x, pairs[0], channels, {}, std::nullopt, Activation::kGelu);
  Tensor fine = convolved<Device>(skip, pairs[1], channels, {}, std::nullopt, Activation::kGelu);
  Tensor sum = Device::add_rows(fine, coarse, parents);
  return {std::move(sum), std::move(fine)};
}

}  // namespace sparseops
