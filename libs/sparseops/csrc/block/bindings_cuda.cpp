// CUDA implementations of parts of networks; bindings.cpp has their schemas.
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <initializer_list>

#include "attention/attention_tensors.h"
#include "block/block.h"
#include "block/pooling_cuda.h"
#include "common/tensors_cuda.h"
#include "conv/conv_tensors.h"
#include "norm/norm_tensors.h"

namespace sparseops::gpu {
namespace {

using common::allocate;

// Calls `run` with a value of the kernels' type for tensors such as `like`, and with one of torch's.
template <typename Run>
void for_type(const Tensor& like, const Run& run) {
  switch (like.scalar_type()) {
    case at::kFloat: return run(float{}, float{});
    case at::kHalf: return run(__half{}, c10::Half{});
    case at::kBFloat16: return run(__nv_bfloat16{}, c10::BFloat16{});
    default: TORCH_CHECK_VALUE(false, "features must be float32, float16 or bfloat16, got ", like.scalar_type());
  }
}

void check_rows(const char* name, const Tensor& rows, const Tensor& beside) {
  TORCH_CHECK_VALUE(
      rows.dim() == 1 && rows.scalar_type() == at::kLong && rows.is_contiguous() && rows.device() == beside.device(),
      name, " must be contiguous int64 on ", beside.device(), ", got ", rows.scalar_type(), " ", rows.sizes(), " on ",
      rows.device());
}

struct Cuda {
  static constexpr auto sparse_conv = &sparse_conv_grouped;
  static constexpr auto layer_norm = &gpu::layer_norm;
  static constexpr auto residual_norm = &gpu::residual_norm;

  static Tensor patch_attention(const Tensor& qkv, const Tensor& cu_seqlens, double scale) {
    TORCH_CHECK_VALUE(cu_seqlens.dim() == 1 && cu_seqlens.size(0) > 0 && cu_seqlens.scalar_type() == at::kInt &&
                          cu_seqlens.is_contiguous() && cu_seqlens.device() == qkv.device(),
                      "cu_seqlens must be contiguous int32 (P + 1,) on ", qkv.device(), ", got ",
                      cu_seqlens.scalar_type(), " ", cu_seqlens.sizes(), " on ", cu_seqlens.device());
    return gpu::patch_attention(qkv, cu_seqlens, scale, std::nullopt, std::nullopt);
  }

  static Tensor pooled(const Tensor& values, const Tensor& starts, const BatchNorm& norm) {
    check_rows("starts", starts, values);
    TORCH_CHECK_VALUE(starts.size(0) > 0, "starts must be (W + 1,), got none");
    const int64_t channels = values.size(1);
    const auto pointer = [&](const OptionalTensor& tensor) -> const float* {
      if (!tensor) return nullptr;
      TORCH_CHECK_VALUE(tensor->scalar_type() == at::kFloat && tensor->is_contiguous() &&
                            tensor->sizes() == at::IntArrayRef({channels}) && tensor->device() == values.device(),
                        "a batch norm's parameters must be contiguous float32 (", channels, ") on ", values.device(),
                        ", got ", tensor->scalar_type(), " ", tensor->sizes(), " on ", tensor->device());
      return tensor->const_data_ptr<float>();
    };
    TORCH_CHECK_VALUE(norm.mean && norm.variance, "a batch norm must have its mean and variance");
    const c10::cuda::CUDAGuard guard(values.device());
    const Tensor out = allocate({starts.size(0) - 1, channels}, values.options());
    for_type(values, [&](auto device_value, auto torch_value) {
      using Device = decltype(device_value);
      using Torch = decltype(torch_value);
      PoolingArguments<Device> arguments{};
      arguments.values = reinterpret_cast<const Device*>(values.const_data_ptr<Torch>());
      arguments.starts = starts.const_data_ptr<int64_t>();
      arguments.weight = pointer(norm.weight);
      arguments.bias = pointer(norm.bias);
      arguments.mean = pointer(norm.mean);
      arguments.variance = pointer(norm.variance);
      arguments.eps = static_cast<float>(norm.eps);
      arguments.out = reinterpret_cast<Device*>(out.mutable_data_ptr<Torch>());
      arguments.num_rows = values.size(0);
      arguments.num_segments = out.size(0);
      arguments.channels = static_cast<int>(channels);
      C10_CUDA_CHECK(pool_segments(arguments, c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }

  static Tensor add_rows(const Tensor& x, const Tensor& others, const Tensor& rows) {
    check_rows("parents", rows, x);
    TORCH_CHECK_VALUE(rows.size(0) == x.size(0), "parents must be (", x.size(0), "), got ", rows.sizes());
    const c10::cuda::CUDAGuard guard(x.device());
    const Tensor out = allocate(x.sizes(), x.options());
    for_type(x, [&](auto device_value, auto torch_value) {
      using Device = decltype(device_value);
      using Torch = decltype(torch_value);
      C10_CUDA_CHECK(gpu::add_rows(reinterpret_cast<const Device*>(x.const_data_ptr<Torch>()),
                                   reinterpret_cast<const Device*>(others.const_data_ptr<Torch>()),
                                   rows.const_data_ptr<int64_t>(), x.size(0), others.size(0), x.size(1),
                                   reinterpret_cast<Device*>(out.mutable_data_ptr<Torch>()),
                                   c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(sparseops, CUDA, m) {
  m.impl("block_input", &block_input<Cuda>);
  m.impl("block_output", &block_output<Cuda>);
  m.impl("attention_blocks", &attention_blocks<Cuda>);
  m.impl("residual_blocks", &residual_blocks<Cuda>);
  m.impl("pool", &pool<Cuda>);
  m.impl("unpool", &unpool<Cuda>);
}

}  // namespace sparseops::gpu
