// torch.ops.sparseops: kernel maps and sparse convolution, on the CPU. Shapes are explained in the Python functions.
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <vector>

#include <limits>

#include "cpu.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sparseops {
namespace {

using at::Tensor;

// Uninitialised memory; a large one in huge pages where the system has them: faults for pages of 4 KiB take longer than
// filling a kernel map.
Tensor allocate(at::IntArrayRef sizes, const at::TensorOptions& options) {
  const Tensor tensor = at::empty(sizes, options);
#if defined(__linux__)
  constexpr uintptr_t page = uintptr_t{1} << 21;
  const uintptr_t start = reinterpret_cast<uintptr_t>(tensor.mutable_data_ptr());
  const uintptr_t first = (start + page - 1) & ~(page - 1), last = (start + tensor.nbytes()) & ~(page - 1);
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
  return tensor;
}

void check_coords(const Tensor& coords) {
  TORCH_CHECK_VALUE(coords.dim() == 2 && coords.size(1) == 4 && coords.scalar_type() == at::kLong && coords.is_contiguous(),
                    "coords must be contiguous int64 (V, 4), got ", coords.scalar_type(), " ", coords.sizes());
  TORCH_CHECK_VALUE(coords.size(0) < std::numeric_limits<int32_t>::max(), "too many voxels: ", coords.size(0));
  if (within_limits(coords.const_data_ptr<int64_t>(), coords.size(0))) return;
  const Tensor low = coords.amin(0), high = coords.amax(0);
  TORCH_CHECK_VALUE(false, "voxel coordinates must lie in [0, ", COORD_LIMIT, ") and batch indices in [0, ",
                    BATCH_LIMIT, "), got ", at::IntArrayRef(low.const_data_ptr<int64_t>(), 4), " to ",
                    at::IntArrayRef(high.const_data_ptr<int64_t>(), 4), "; use a larger grid size or smaller tiles");
}

Tensor sort_voxels(const Tensor& coords) {
  check_coords(coords);
  const Keys keys = sort_keys(coords.const_data_ptr<int64_t>(), coords.size(0), 0, 0);
  Tensor order = at::empty({coords.size(0)}, coords.options());
  std::copy(keys.order.begin(), keys.order.end(), order.mutable_data_ptr<int64_t>());
  return order;
}

Tensor submanifold_map(const Tensor& coords, int64_t kernel_size) {
  check_coords(coords);
  TORCH_CHECK_VALUE(kernel_size >= 1 && kernel_size <= 7 && kernel_size % 2 == 1,
                    "kernel_size must be odd, from 1 to 7, got ", kernel_size);
  const Keys keys = sort_keys(coords.const_data_ptr<int64_t>(), coords.size(0), kernel_size / 2, 0);
  TORCH_CHECK_VALUE(!has_duplicates(keys), "coords holds a voxel more than once");
  const Tensor rows =
      allocate({kernel_size * kernel_size * kernel_size, coords.size(0)}, coords.options().dtype(at::kInt));
  submanifold_table(keys, kernel_size, rows.mutable_data_ptr<int32_t>());
  return rows;
}

std::tuple<Tensor, Tensor, Tensor> strided_map(const Tensor& coords) {
  check_coords(coords);
  const int64_t num = coords.size(0);
  const int64_t* from = coords.const_data_ptr<int64_t>();
  const auto table = coords.options().dtype(at::kInt);
  const Tensor parent = at::empty({num}, table), coarse = at::empty({num, 4}, coords.options());
  const int64_t num_coarse =
      coarser_voxels(from, num, parent.mutable_data_ptr<int32_t>(), coarse.mutable_data_ptr<int64_t>());
  const Tensor children = allocate({8, num_coarse}, table), parents = allocate({8, num}, table);
  const bool distinct = strided_tables(from, num, parent.const_data_ptr<int32_t>(), num_coarse,
                                       children.mutable_data_ptr<int32_t>(), parents.mutable_data_ptr<int32_t>());
  TORCH_CHECK_VALUE(distinct, "coords holds a voxel more than once");
  return {coarse.narrow(0, 0, num_coarse), children, parents};
}

int64_t units_of(const Tensor& features) {
  return features.scalar_type() == at::kFloat ? features.size(1) : (features.size(1) + 1) / 2;
}

void check_type(const Tensor& tensor, const char* name) {
  TORCH_CHECK_VALUE(tensor.is_contiguous() && (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16),
                    name, " must be contiguous float32 or bfloat16 on the CPU, got ", tensor.scalar_type());
}

Tensor pack_weight(const Tensor& weight) {
  check_type(weight, "weight");
  TORCH_CHECK_VALUE(weight.dim() == 3, "weight must be (C_out, K, C_in), got ", weight.sizes());
  const int64_t out = weight.size(0), offsets = weight.size(1), in = weight.size(2), panels = (out + PANEL - 1) / PANEL;
  if (weight.scalar_type() == at::kFloat) {
    const Tensor packed = at::empty({offsets, panels, in, PANEL}, weight.options());
    pack_float(weight.const_data_ptr<float>(), out, offsets, in, packed.mutable_data_ptr<float>());
    return packed;
  }
  const Tensor packed = at::empty({offsets, panels, (in + 1) / 2, PANEL * 2}, weight.options());
  pack_bfloat16(reinterpret_cast<const uint16_t*>(weight.const_data_ptr<at::BFloat16>()), out, offsets, in,
                reinterpret_cast<uint16_t*>(packed.mutable_data_ptr<at::BFloat16>()));
  return packed;
}

Tensor sparse_conv(const Tensor& features, const Tensor& weight, int64_t out_channels, const Tensor& rows,
                   const std::optional<Tensor>& bias, const std::optional<Tensor>& residual, bool relu) {
  check_type(features, "features");
  check_type(weight, "weight");
  const bool bfloat16 = features.scalar_type() == at::kBFloat16;
  TORCH_CHECK_VALUE(features.dim() == 2, "features must be (num_in, C_in), got ", features.sizes());
  TORCH_CHECK_VALUE(rows.dim() == 2 && rows.scalar_type() == at::kInt && rows.is_contiguous(),
                    "rows must be contiguous int32 (K, num_out), got ", rows.scalar_type(), " ", rows.sizes());
  const int64_t units = units_of(features), panels = (out_channels + PANEL - 1) / PANEL, num_out = rows.size(1);
  TORCH_CHECK_VALUE(weight.scalar_type() == features.scalar_type() &&
                        weight.sizes() == at::IntArrayRef({rows.size(0), panels, units, PANEL * (bfloat16 ? 2 : 1)}),
                    "weight, ", weight.scalar_type(), " ", weight.sizes(), ", is not packed for features ",
                    features.scalar_type(), " ", features.sizes(), ", ", rows.size(0), " offsets and ", out_channels,
                    " channels");
  if (bias)
    TORCH_CHECK_VALUE(bias->scalar_type() == at::kFloat && bias->is_contiguous() && bias->sizes() == at::IntArrayRef({out_channels}),
                      "bias must be float32 (", out_channels, "), got ", bias->scalar_type(), " ", bias->sizes());
  if (residual)
    TORCH_CHECK_VALUE(residual->scalar_type() == features.scalar_type() && residual->is_contiguous() &&
                          residual->sizes() == at::IntArrayRef({num_out, out_channels}),
                      "residual must be ", features.scalar_type(), " (", num_out, ", ", out_channels, "), got ",
                      residual->scalar_type(), " ", residual->sizes());
  const Tensor even = bfloat16 && features.size(1) % 2 ? at::constant_pad_nd(features, {0, 1}) : features;
  const Tensor out = allocate({num_out, out_channels}, features.options());
  convolve({even.const_data_ptr(), weight.const_data_ptr(), rows.const_data_ptr<int32_t>(),
            bias ? bias->const_data_ptr<float>() : nullptr, residual ? residual->const_data_ptr() : nullptr,
            out.mutable_data_ptr(), features.size(0), num_out, rows.size(0), units, out_channels, panels, bfloat16,
            relu});
  return out;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseops, m) {
  const std::vector<at::Tag> as_given{at::Tag::needs_fixed_stride_order};  // compiled graphs keep tensors contiguous
  m.def("sort_voxels(Tensor coords) -> Tensor", as_given);
  m.def("submanifold_map(Tensor coords, int kernel_size) -> Tensor", as_given);
  m.def("strided_map(Tensor coords) -> (Tensor, Tensor, Tensor)", as_given);
  m.def("pack_weight(Tensor weight) -> Tensor", as_given);
  m.def(
      "sparse_conv(Tensor features, Tensor weight, int out_channels, Tensor rows, Tensor? bias, Tensor? residual, "
      "bool relu) -> Tensor", as_given);
  // on CUDA alone: output rows with like neighbours side by side
  m.def("group_rows(Tensor rows) -> (Tensor, Tensor)", as_given);
  m.def(
      "sparse_conv_grouped(Tensor features, Tensor weight, int out_channels, Tensor rows, Tensor? order, "
      "Tensor? bias, Tensor? residual, bool relu) -> Tensor", as_given);
}

TORCH_LIBRARY_IMPL(sparseops, CPU, m) {
  m.impl("sort_voxels", &sort_voxels);
  m.impl("submanifold_map", &submanifold_map);
  m.impl("strided_map", &strided_map);
  m.impl("pack_weight", &pack_weight);
  m.impl("sparse_conv", &sparse_conv);
}

}  // namespace sparseops
