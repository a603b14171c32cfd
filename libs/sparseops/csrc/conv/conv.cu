// Sparse convolution: which tile computes it, and how it is started.
#include <cmath>

#include "common/shared_memory.h"
#include "conv/conv_tile.cuh"

namespace sparseops::gpu {
namespace {

// For so few rows that a block has a multiprocessor to itself: more blocks, each with more copies under way.
template <int kRowBytes>
using FewRows = Tile<32, 32, 2, 2, 3, kRowBytes, 8>;
using Tile32 = Tile<64, 32, 2, 2, 4>;
using Tile64 = Tile<128, 64, 2, 2, 4>;
using Tile96 = Tile<128, 96, 2, 2, 3>;
using Tile128 = Tile<128, 128, 2, 4, 2>;
using Tile256 = Tile<128, 256, 2, 4, 1>;
// For float units, where fewer rows have fewer offsets between them.
template <int kRowBytes>
struct FloatTiles {
  using FewRows = gpu::FewRows<kRowBytes>;
  using Tile64 = Tile<64, 64, 1, 4, 4, kRowBytes, 3>;
  using Tile96 = Tile<64, 96, 2, 2, 3, kRowBytes, 3>;
  using Tile128 = Tile<64, 128, 1, 4, 3, kRowBytes, 3>;
};
using LongSteps = FloatTiles<128>;
using ShortSteps = FloatTiles<64>;
constexpr int kLongStepsBytes =
    220 << 10;  // where a multiprocessor has less, it runs fewer blocks of LongSteps at once

int attribute(cudaDeviceAttr name) {
  int device = 0, value = 0;
  if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetAttribute(&value, name, device) != cudaSuccess) return 0;
  return value;
}

template <typename T>
struct Plan {
  const ConvArguments& arguments;
  size_t shared_limit;  // of a block, bytes

  template <typename Shape>
  size_t shared_bytes() const {
    return Shape::shared_bytes(arguments.num_offsets, arguments.num_offsets * chunks_per_offset<T>(arguments));
  }
  template <typename Shape>
  int64_t tiles() const {
    return (static_cast<int64_t>(arguments.num_out) + Shape::kRows - 1) / Shape::kRows *
           ((arguments.out_channels + Shape::kColumns - 1) / Shape::kColumns);
  }
  // Columns computed, and a share for the gathering, which every tile across repeats.
  template <typename Shape>
  float cost() const {
    if (shared_bytes<Shape>() > shared_limit) return INFINITY;
    const int across = (arguments.out_channels + Shape::kColumns - 1) / Shape::kColumns;
    return static_cast<float>(across * (Shape::kColumns + 32));
  }
  template <typename Shape, typename Math>
  cudaError_t run(cudaStream_t stream) const {
    const size_t bytes = shared_bytes<Shape>();
    if (bytes > shared_limit || tiles<Shape>() > INT32_MAX) return cudaErrorInvalidValue;
    const auto kernel = convolve_tile<Shape, Math>;
    static OnDevices allowed;
    const cudaError_t error = allow_all_shared(reinterpret_cast<const void*>(kernel), allowed);
    if (error != cudaSuccess) return error;
    return launch(kernel, dim3(static_cast<unsigned>(tiles<Shape>())), Shape::kThreads, bytes, stream, arguments);
  }
};

// Runs the first of the shapes, narrow to wide, that costs least, and a narrower one where that leaves
// multiprocessors without work.
template <template <typename> class MathFor, typename T, typename Narrow, typename... Wider>
cudaError_t run_best(const Plan<T>& plan, int multiprocessors, cudaStream_t stream) {
  using Run = cudaError_t (Plan<T>::*)(cudaStream_t) const;
  const Run runs[] = {&Plan<T>::template run<Narrow, typename MathFor<Narrow>::Type>,
                      &Plan<T>::template run<Wider, typename MathFor<Wider>::Type>...};
  const float costs[] = {plan.template cost<Narrow>(), plan.template cost<Wider>()...};
  const int64_t tiles[] = {plan.template tiles<Narrow>(), plan.template tiles<Wider>()...};
  int best = 0;
  for (int i = 1; i <= static_cast<int>(sizeof...(Wider)); ++i) {
    if (costs[i] <= costs[best]) best = i;
  }
  while (best > 0 && tiles[best] < multiprocessors && std::isfinite(costs[best - 1])) --best;
  return (plan.*runs[best])(stream);
}

template <typename Shape>
struct HalfMath {
  using Type = TensorCores<__half, typename Shape::Step, Shape::kWarpRows, Shape::kWarpColumns>;
};
template <typename Shape>
struct Bfloat16Math {
  using Type = TensorCores<__nv_bfloat16, typename Shape::Step, Shape::kWarpRows, Shape::kWarpColumns>;
};
template <typename Shape>
struct Tf32Math {
  using Type = TensorCores<float, typename Shape::Step, Shape::kWarpRows, Shape::kWarpColumns>;
};
template <typename Shape>
struct FloatMath {
  using Type = FloatUnits<typename Shape::Step, Shape::kWarpRows, Shape::kWarpColumns>;
};

template <typename Tiles>
cudaError_t run_float(const Plan<float>& plan, int multiprocessors, cudaStream_t stream) {
  return run_best<FloatMath, float, typename Tiles::FewRows, Tile32, typename Tiles::Tile64, typename Tiles::Tile96,
                  typename Tiles::Tile128>(plan, multiprocessors, stream);
}

}  // namespace

bool convolve_supports(ConvType type) {
  const bool everywhere = type == ConvType::kHalf || type == ConvType::kFloat;
  return everywhere || attribute(cudaDevAttrComputeCapabilityMajor) >= 8;
}

cudaError_t convolve(ConvType type, const ConvArguments& arguments, cudaStream_t stream) {
  if (arguments.num_out == 0 || arguments.out_channels == 0) return cudaSuccess;
  const int multiple = type == ConvType::kHalf || type == ConvType::kBfloat16 ? 8 : 4;
  if (arguments.in_channels <= 0 || arguments.in_channels % multiple != 0 || arguments.out_channels % multiple != 0 ||
      arguments.in_channels > kMaxInChannels || arguments.num_offsets > kMaxKernelOffsets) {
    return cudaErrorInvalidValue;
  }
  if (!convolve_supports(type)) return cudaErrorNotSupported;
  const auto limit = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  const int processors = attribute(cudaDevAttrMultiProcessorCount);
  switch (type) {
    case ConvType::kHalf:
      return run_best<HalfMath, __half, FewRows<64>, Tile32, Tile64, Tile96, Tile128, Tile256>({arguments, limit},
                                                                                               processors, stream);
    case ConvType::kBfloat16:
      return run_best<Bfloat16Math, __nv_bfloat16, FewRows<64>, Tile32, Tile64, Tile96, Tile128, Tile256>(
          {arguments, limit}, processors, stream);
    case ConvType::kTf32:
      return run_best<Tf32Math, float, FewRows<64>, Tile32, Tile64, Tile96, Tile128>({arguments, limit}, processors,
                                                                                     stream);
    case ConvType::kFloat:
      return attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor) >= kLongStepsBytes
                 ? run_float<LongSteps>({arguments, limit}, processors, stream)
                 : run_float<ShortSteps>({arguments, limit}, processors, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace sparseops::gpu
