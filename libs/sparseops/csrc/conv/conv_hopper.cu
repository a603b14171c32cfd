// Sparse convolution in half precision on compute capability 9.0: which tile computes it, and how it is started.
#include <cuda.h>
#include <cudaTypedefs.h>

#include <algorithm>
#include <iterator>

#include "common/shared_memory.h"
#include "conv/hopper_tile.cuh"

namespace sparseops::gpu {
namespace {

constexpr int kMinChannels = 64;    // fewer leave too little to multiply between copies: conv.cu is as fast
constexpr int kMaxChannels = 4096;  // shared memory has room for the steps

// cuTensorMapEncodeTiled, of the driver; null where it has none.
PFN_cuTensorMapEncodeTiled_v12000 tensor_map_encoder() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
  cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
#else
  cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &found, cudaEnableDefault, &result);
#endif
  return result == cudaDriverEntryPointSuccess ? reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(found) : nullptr;
}

template <typename T>
constexpr CUtensorMapDataType kDataType = CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
template <>
constexpr CUtensorMapDataType kDataType<__nv_bfloat16> = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;

// The weight as a matrix (out_channels, num_offsets * in_channels), copied in boxes of `columns` of its rows by a step.
template <typename T>
bool describe(const ConvArguments& arguments, int columns, CUtensorMap* map) {
  static const auto encode = tensor_map_encoder();
  const auto inner = static_cast<cuuint64_t>(arguments.num_offsets) * static_cast<cuuint64_t>(arguments.in_channels);
  const cuuint64_t sizes[] = {inner, static_cast<cuuint64_t>(arguments.out_channels)}, strides[] = {inner * sizeof(T)};
  const cuuint32_t box[] = {kStepElements, static_cast<cuuint32_t>(columns)}, element_strides[] = {1, 1};
  return encode != nullptr &&
         encode(map, kDataType<T>, 2, const_cast<void*>(arguments.weight), sizes, strides, box, element_strides,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

template <typename Shape>
cudaError_t run(const ConvArguments& arguments, cudaStream_t stream) {
  const int64_t tiles = (static_cast<int64_t>(arguments.num_out) + Shape::kRows - 1) / Shape::kRows *
                        ((arguments.out_channels + Shape::kColumns - 1) / Shape::kColumns);
  const size_t bytes = Shape::shared_bytes(arguments.num_offsets, steps_of(arguments));
  CUtensorMap weight;
  if (tiles > INT32_MAX) return cudaErrorInvalidValue;
  if (!describe<typename Shape::Element>(arguments, Shape::kColumns, &weight)) return cudaErrorNotSupported;
  const auto kernel = convolve_tile<Shape>;
  static OnDevices allowed;
  const cudaError_t error = allow_all_shared(reinterpret_cast<const void*>(kernel), allowed);
  if (error != cudaSuccess) return error;
  return launch(kernel, dim3(static_cast<unsigned>(tiles)), Shape::kThreads, bytes, stream, arguments, weight);
}

template <typename T>
using Tile64 = Tile<T, 64, 1, 4, 4, 3>;
template <typename T>
using Tile96 = Tile<T, 96, 2, 3, 4, 2>;
template <typename T>
using Tile128 = Tile<T, 128, 2, 3, 2, 2>;
template <typename T>
using Tile256 = Tile<T, 256, 2, 4, 4, 1>;
// Tile64 for few blocks: with fewer of them on a multiprocessor each waits longer for its copies, and has more of the
// shared memory to have more of them under way.
template <typename T>
using TwoOf64 = Tile<T, 64, 1, 6, 4, 2>;
template <typename T>
using OneOf64 = Tile<T, 64, 1, 12, 4, 1>;

// Runs the shape that costs least, columns and a share for the gathering, or a narrower one where its tiles are so few
// that they take longer than the narrower ones would: these share the multiprocessors better. Whichever it is, a sum is
// of the same steps in the same order.
template <typename T, template <typename> class... Shapes>
cudaError_t run_best(const ConvArguments& arguments, int multiprocessors, cudaStream_t stream) {
  const auto across = [&](int columns) { return (arguments.out_channels + columns - 1) / columns; };
  const auto down = [&](int rows) { return (static_cast<int64_t>(arguments.num_out) + rows - 1) / rows; };
  const int costs[] = {across(Shapes<T>::kColumns) * (Shapes<T>::kColumns + 32)...};
  const int64_t tiles[] = {down(Shapes<T>::kRows) * across(Shapes<T>::kColumns)...};
  cudaError_t (*const runs[])(const ConvArguments&, cudaStream_t) = {run<Shapes<T>>...};
  int best = static_cast<int>(std::min_element(std::begin(costs), std::end(costs)) - costs);
  while (best > 0) {
    const int narrower = static_cast<int>(std::min_element(costs, costs + best) - costs);
    if (5 * tiles[best] * costs[narrower] >= 8 * static_cast<int64_t>(multiprocessors) * costs[best]) break;
    best = narrower;
  }
  if (best > 0 || tiles[0] > 2 * multiprocessors) return runs[best](arguments, stream);
  return (tiles[0] <= multiprocessors ? run<OneOf64<T>> : run<TwoOf64<T>>)(arguments, stream);
}

// Whether the current device runs the kernels' code, and not empty ones, which have no static shared memory.
bool compiled_for_this_device() {
  static OnDevices asked, compiled;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return false;
  if (!asked.has(device)) {
    cudaFuncAttributes attributes{};
    const auto kernel = reinterpret_cast<const void*>(convolve_tile<Tile64<__half>>);
    if (cudaFuncGetAttributes(&attributes, kernel) != cudaSuccess) return false;
    if (attributes.sharedSizeBytes > 0) compiled.add(device);
    asked.add(device);
  }
  return compiled.has(device);
}

}  // namespace

bool hopper_supports(ConvType type, const ConvArguments& arguments) {
  if (type != ConvType::kHalf && type != ConvType::kBfloat16) return false;
  if (arguments.num_offsets < 1 || arguments.num_offsets > kMaxOffsets) return false;
  if (arguments.in_channels < kMinChannels || arguments.in_channels > kMaxChannels) return false;
  if (arguments.out_channels < kMinChannels) return false;
  return compiled_for_this_device();
}

cudaError_t convolve_hopper(ConvType type, const ConvArguments& arguments, cudaStream_t stream) {
  if (arguments.num_out == 0) return cudaSuccess;
  int device = 0, processors = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error != cudaSuccess) return error;
  error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (error != cudaSuccess) return error;
  const auto run_half = run_best<__half, Tile64, Tile96, Tile128, Tile256>;
  const auto run_bfloat16 = run_best<__nv_bfloat16, Tile64, Tile96, Tile128, Tile256>;
  return (type == ConvType::kHalf ? run_half : run_bfloat16)(arguments, processors, stream);
}

}  // namespace sparseops::gpu
