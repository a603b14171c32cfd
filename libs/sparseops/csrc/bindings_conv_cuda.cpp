// CUDA implementations of kernel maps and sparse convolution; bindings_conv.cpp has their schemas.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/where.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "conv_cuda.h"
#include "maps_cuda.h"
#include "tensors_cuda.h"

namespace sparseops::gpu {
namespace {

using at::Tensor;

constexpr int64_t kMaxRows = int64_t{1} << 30;

// Shape and dtype; the values are not looked at.
int check_coords(const Tensor& coords) {
  TORCH_CHECK_VALUE(
      coords.dim() == 2 && coords.size(1) == 4 && coords.scalar_type() == at::kLong && coords.is_contiguous(),
      "coords must be contiguous int64 (V, 4), got ", coords.scalar_type(), " ", coords.sizes());
  TORCH_CHECK_VALUE(coords.size(0) < kMaxRows, "too many voxels: ", coords.size(0));
  return static_cast<int>(coords.size(0));
}

void check_rows(const Tensor& rows) {
  TORCH_CHECK_VALUE(rows.dim() == 2 && rows.scalar_type() == at::kInt && rows.is_contiguous() && rows.size(1) < kMaxRows,
                    "rows must be contiguous int32 (K, num_out), got ", rows.scalar_type(), " ", rows.sizes());
}

Tensor aligned_to_16(const Tensor& tensor) {
  return reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % 16 == 0 ? tensor : tensor.clone();
}

// Coordinates outside the limits meet nothing, or one another; they are not looked for, since that would wait.
Tensor submanifold_map_cuda(const Tensor& given, int64_t kernel_size) {
  const int num_voxels = check_coords(given);
  TORCH_CHECK_VALUE(kernel_size >= 1 && kernel_size <= 7 && kernel_size % 2 == 1,
                    "kernel_size must be odd, from 1 to 7, got ", kernel_size);
  const c10::cuda::CUDAGuard guard(given.device());
  const Tensor coords = aligned_to_16(given);
  const Tensor rows = at::empty({kernel_size * kernel_size * kernel_size, num_voxels}, coords.options().dtype(at::kInt));
  const Tensor scratch = bytes_on(coords, submanifold_map_scratch(num_voxels));
  C10_CUDA_CHECK(submanifold_map(coords.const_data_ptr<int64_t>(), num_voxels, static_cast<int>(kernel_size),
                                 rows.mutable_data_ptr<int32_t>(), scratch.mutable_data_ptr(),
                                 c10::cuda::getCurrentCUDAStream()));
  return rows;
}

using StridedMap = std::tuple<Tensor, Tensor, Tensor>;  // coarse, children, parents

// Waits until the size is known; none where the rows of coords do not ascend.
std::optional<StridedMap> ascending_strided_map(const Tensor& given) {
  const int num_voxels = check_coords(given);
  const Tensor coords = aligned_to_16(given);
  const auto table = coords.options().dtype(at::kInt);
  const Tensor coarse = at::empty({num_voxels, 4}, coords.options());
  const Tensor children = at::empty({8 * static_cast<int64_t>(num_voxels)}, table);
  const Tensor parents = at::empty({8, num_voxels}, table);
  const Tensor scratch = bytes_on(coords, strided_map_scratch(num_voxels));
  Told<StridedResult> told;
  const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(strided_map_size(coords.const_data_ptr<int64_t>(), num_voxels, told.memory(),
                                  scratch.mutable_data_ptr(), stream));
  told.queued(stream);
  const cudaError_t error = strided_map(coords.const_data_ptr<int64_t>(), num_voxels,
                                        coarse.mutable_data_ptr<int64_t>(), children.mutable_data_ptr<int32_t>(),
                                        parents.mutable_data_ptr<int32_t>(), scratch.mutable_data_ptr(), stream);
  const StridedResult& result = told.wait();  // before an error is thrown: until then the device may write to it
  C10_CUDA_CHECK(error);
  if (result.inside == 0) {
    const Tensor low = coords.amin(0).cpu(), high = coords.amax(0).cpu();
    TORCH_CHECK_VALUE(false, "voxel coordinates must lie in [0, ", kCoordLimit, ") and batch indices in [0, ",
                      kBatchLimit, "), got ", at::IntArrayRef(low.const_data_ptr<int64_t>(), 4), " to ",
                      at::IntArrayRef(high.const_data_ptr<int64_t>(), 4), "; use a larger grid size or smaller tiles");
  }
  if (result.ascending == 0) return std::nullopt;
  const int64_t num_coarse = result.num_coarse;
  return StridedMap{coarse.narrow(0, 0, num_coarse), children.narrow(0, 0, 8 * num_coarse).view({8, num_coarse}),
                    parents};
}

StridedMap strided_map_cuda(const Tensor& coords) {
  const c10::cuda::CUDAGuard guard(coords.device());
  if (const auto map = ascending_strided_map(coords)) return *map;
  const Tensor keys = ((coords.select(1, 0) * kCoordLimit + coords.select(1, 1)) * kCoordLimit + coords.select(1, 2)) *
                          kCoordLimit +
                      coords.select(1, 3);
  const Tensor order = at::argsort(keys, /*stable=*/true);
  const auto sorted = ascending_strided_map(coords.index_select(0, order));
  TORCH_CHECK_VALUE(sorted.has_value(), "coords holds a voxel more than once");
  const auto& [coarse, children, parents] = *sorted;
  const Tensor rows = order.to(at::kInt).index_select(0, children.flatten().clamp_min(0).to(at::kLong));
  return {coarse, at::where(children >= 0, rows.view(children.sizes()), children),
          at::empty_like(parents).index_copy_(1, order, parents)};
}

// The rows of the output in an order that brings like neighbours together, int32 (num_out), and the columns of `rows`
// in that order.
std::tuple<Tensor, Tensor> group_rows_cuda(const Tensor& rows) {
  check_rows(rows);
  TORCH_CHECK_VALUE(rows.size(0) >= 1 && rows.size(0) <= kMaxGroupedOffsets, "rows can be grouped by 1 to ",
                    kMaxGroupedOffsets, " offsets, got ", rows.size(0));
  const c10::cuda::CUDAGuard guard(rows.device());
  const int num_offsets = static_cast<int>(rows.size(0)), num_out = static_cast<int>(rows.size(1));
  const Tensor order = at::empty({num_out}, rows.options()), grouped = at::empty_like(rows);
  const Tensor scratch = bytes_on(rows, group_rows_scratch(num_offsets, num_out));
  C10_CUDA_CHECK(group_rows(rows.const_data_ptr<int32_t>(), num_offsets, num_out, grouped.mutable_data_ptr<int32_t>(),
                            order.mutable_data_ptr<int32_t>(), scratch.mutable_data_ptr(),
                            c10::cuda::getCurrentCUDAStream()));
  return {order, grouped};
}

ConvType type_for(const Tensor& features) {
  switch (features.scalar_type()) {
    case at::kHalf: return ConvType::kHalf;
    case at::kBFloat16: return ConvType::kBfloat16;
    case at::kFloat: return at::globalContext().allowTF32CuBLAS() ? ConvType::kTf32 : ConvType::kFloat;
    default: TORCH_CHECK_VALUE(false, "features must be float32, float16 or bfloat16, got ", features.scalar_type());
  }
}

// `dim` filled up with zeros to a multiple that is not 0.
Tensor padded(const Tensor& tensor, int64_t dim, int64_t multiple) {
  const int64_t size = tensor.size(dim), missing = size == 0 ? multiple : (multiple - size % multiple) % multiple;
  if (missing == 0) return aligned_to_16(tensor);
  std::vector<int64_t> pad(2 * (tensor.dim() - dim), 0);
  pad.back() = missing;
  return at::constant_pad_nd(tensor, pad);
}

std::optional<Tensor> padded(const std::optional<Tensor>& tensor, int64_t dim, int64_t multiple) {
  return tensor ? std::optional(padded(*tensor, dim, multiple)) : std::nullopt;
}

Tensor convolve_as(ConvType type, const Tensor& given, const Tensor& given_weight, const Tensor& rows,
                   const std::optional<Tensor>& order, const std::optional<Tensor>& given_bias,
                   const std::optional<Tensor>& given_residual, bool relu) {
  const int64_t multiple = 16 / given.element_size();
  const Tensor features = padded(given, 1, multiple);
  const Tensor weight = padded(padded(given_weight, 2, multiple), 0, multiple);
  const std::optional<Tensor> bias = padded(given_bias, 0, multiple), residual = padded(given_residual, 1, multiple);
  const Tensor out = at::empty({rows.size(1), weight.size(0)}, features.options());
  ConvArguments arguments{};
  arguments.features = features.const_data_ptr();
  arguments.weight = weight.const_data_ptr();
  arguments.forwards = rows.const_data_ptr<int32_t>();
  arguments.order = order ? order->const_data_ptr<int32_t>() : nullptr;
  arguments.bias = bias ? bias->const_data_ptr<float>() : nullptr;
  arguments.residual = residual ? residual->const_data_ptr() : nullptr;
  arguments.out = out.mutable_data_ptr();
  arguments.num_in = static_cast<int>(features.size(0));
  arguments.num_out = static_cast<int>(rows.size(1));
  arguments.num_offsets = static_cast<int>(rows.size(0));
  arguments.in_channels = static_cast<int>(features.size(1));
  arguments.out_channels = static_cast<int>(weight.size(0));
  arguments.relu = relu;
  const auto run = hopper_supports(type, arguments) ? convolve_hopper : convolve;
  const cudaError_t error = run(type, arguments, c10::cuda::getCurrentCUDAStream());
  if (error == cudaErrorInvalidValue) {
    cudaGetLastError();  // else the next launch would be told of it
    TORCH_CHECK_VALUE(false, "weight has ", given_weight.size(2), " input channels at ", rows.size(0),
                      " offsets; the limits are ", kMaxInChannels, " channels, ", kMaxKernelOffsets,
                      " offsets and the shared memory of the device, in which both together need room");
  }
  C10_CUDA_CHECK(error);
  return weight.size(0) == given_weight.size(0) ? out : out.narrow(1, 0, given_weight.size(0)).contiguous();
}

// `rows` and `order` as group_rows gives them, or any rows and no order.
Tensor sparse_conv_grouped(const Tensor& features, const Tensor& weight, int64_t out_channels, const Tensor& rows,
                           const std::optional<Tensor>& order, const std::optional<Tensor>& bias,
                           const std::optional<Tensor>& residual, bool relu) {
  check_rows(rows);
  TORCH_CHECK_VALUE(features.dim() == 2 && features.is_contiguous() && features.size(0) < kMaxRows,
                    "features must be contiguous (num_in, C_in), got ", features.sizes());
  TORCH_CHECK_VALUE(weight.sizes() == at::IntArrayRef({out_channels, rows.size(0), features.size(1)}) &&
                        weight.scalar_type() == features.scalar_type() && weight.is_contiguous(),
                    "weight must be contiguous ", features.scalar_type(), " (", out_channels, ", ", rows.size(0), ", ",
                    features.size(1), "), got ", weight.scalar_type(), " ", weight.sizes());
  if (order) {
    TORCH_CHECK_VALUE(order->scalar_type() == at::kInt && order->is_contiguous() &&
                          order->sizes() == at::IntArrayRef({rows.size(1)}),
                      "order must be contiguous int32 (", rows.size(1), "), got ", order->scalar_type(), " ",
                      order->sizes());
  }
  if (bias) {
    TORCH_CHECK_VALUE(bias->scalar_type() == at::kFloat && bias->is_contiguous() &&
                          bias->sizes() == at::IntArrayRef({out_channels}),
                      "bias must be float32 (", out_channels, "), got ", bias->scalar_type(), " ", bias->sizes());
  }
  if (residual) {
    TORCH_CHECK_VALUE(residual->scalar_type() == features.scalar_type() && residual->is_contiguous() &&
                          residual->sizes() == at::IntArrayRef({rows.size(1), out_channels}),
                      "residual must be contiguous ", features.scalar_type(), " (", rows.size(1), ", ", out_channels,
                      "), got ", residual->scalar_type(), " ", residual->sizes());
  }
  for (const Tensor& tensor : {weight, rows, order.value_or(rows), bias.value_or(rows), residual.value_or(rows)}) {
    TORCH_CHECK_VALUE(tensor.device() == features.device(), "all tensors must be on ", features.device(), ", got ",
                      tensor.device());
  }
  const c10::cuda::CUDAGuard guard(features.device());
  const ConvType type = type_for(features);
  if (convolve_supports(type)) return convolve_as(type, features, weight, rows, order, bias, residual, relu);
  const auto wide = residual ? std::optional(residual->to(at::kFloat)) : std::nullopt;
  return convolve_as(ConvType::kFloat, features.to(at::kFloat), weight.to(at::kFloat), rows, order, bias, wide, relu)
      .to(features.scalar_type());
}

Tensor sparse_conv_cuda(const Tensor& features, const Tensor& weight, int64_t out_channels, const Tensor& rows,
                        const std::optional<Tensor>& bias, const std::optional<Tensor>& residual, bool relu) {
  return sparse_conv_grouped(features, weight, out_channels, rows, std::nullopt, bias, residual, relu);
}

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) {
  m.impl("submanifold_map", &submanifold_map_cuda);
  m.impl("strided_map", &strided_map_cuda);
  m.impl("sparse_conv", &sparse_conv_cuda);
  m.impl("group_rows", &group_rows_cuda);
  m.impl("sparse_conv_grouped", &sparse_conv_grouped);
}

}  // namespace sparseops::gpu
