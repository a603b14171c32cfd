// Reductions of rows over segments, on a GPU. Every sum has a fixed order.
#include <algorithm>

#include "common/launch.cuh"
#include "segments/segments_cuda.h"

namespace sparseops::gpu {

using namespace common;

namespace {

constexpr int kThreads = 256;
constexpr int kChannels = 32;  // channels of a block that reduces one long segment
constexpr int kLanes = kThreads / kChannels;
constexpr int64_t kLongSegment = 64;  // rows of the mean segment from which a block takes one

// by name: torch compiles without the implicit conversions of half types
__device__ __forceinline__ double widen(double value) { return value; }
__device__ __forceinline__ double widen(float value) { return value; }
__device__ __forceinline__ double widen(__half value) { return __half2float(value); }
__device__ __forceinline__ double widen(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename Value>
__device__ __forceinline__ Value narrow(double value) {
  return static_cast<Value>(value);
}
template <>
__device__ __forceinline__ __half narrow<__half>(double value) {
  return __float2half_rn(static_cast<float>(value));
}
template <>
__device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(double value) {
  return __float2bfloat16_rn(static_cast<float>(value));
}

__device__ __forceinline__ double combine(double a, double b, Reduction reduction) {
  if (reduction == kSum || reduction == kMean) return a + b;
  if (a != a) return a;  // a NaN stays
  const bool better = reduction == kMax ? b > a : b < a;
  return better || b != b ? b : a;
}

struct Segment {
  int64_t begin, end;
};

__device__ __forceinline__ Segment segment_at(const int64_t* offsets, int64_t segment, int64_t num_rows) {
  const int64_t begin = min(max(offsets[segment], int64_t{0}), num_rows);
  return {begin, min(max(offsets[segment + 1], begin), num_rows)};
}

template <typename Value>
__device__ __forceinline__ Value finish(double total, Segment segment, Reduction reduction) {
  return narrow<Value>(reduction == kMean ? total / static_cast<double>(segment.end - segment.begin) : total);
}

// A thread reduces one channel of one segment.
template <typename Value>
__global__ void __launch_bounds__(kThreads)
    short_segments_kernel(const Value* values, const int64_t* offsets, int64_t num_rows, int64_t num_segments,
                          int64_t channels, Reduction reduction, Value* out) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < num_segments * channels; i += step) {
    const Segment segment = segment_at(offsets, i / channels, num_rows);
    const Value* column = values + i % channels;
    if (segment.begin == segment.end) {
      out[i] = narrow<Value>(0.0);
      continue;
    }
    double total = widen(column[segment.begin * channels]);
    for (int64_t row = segment.begin + 1; row < segment.end; ++row) {
      total = combine(total, widen(column[row * channels]), reduction);
    }
    out[i] = finish<Value>(total, segment, reduction);
  }
}

// A block reduces kChannels channels of one segment, every kLanes-th row a thread.
template <typename Value>
__global__ void __launch_bounds__(kThreads)
    long_segments_kernel(const Value* values, const int64_t* offsets, int64_t num_rows, int64_t num_segments,
                         int64_t channels, Reduction reduction, Value* out) {
  __shared__ double totals[kLanes][kChannels];
  const int lane = static_cast<int>(threadIdx.x) / kChannels, column = static_cast<int>(threadIdx.x) % kChannels;
  const int64_t blocks_of_segment = (channels + kChannels - 1) / kChannels;
  for (int64_t task = blockIdx.x; task < num_segments * blocks_of_segment; task += gridDim.x) {
    const Segment segment = segment_at(offsets, task / blocks_of_segment, num_rows);
    const int64_t channel = task % blocks_of_segment * kChannels + column;
    const int64_t lanes = min(segment.end - segment.begin, static_cast<int64_t>(kLanes));
    if (channel < channels && lane < lanes) {
      int64_t row = segment.begin + lane;
      double total = widen(values[row * channels + channel]);
      for (row += kLanes; row < segment.end; row += kLanes) {
        total = combine(total, widen(values[row * channels + channel]), reduction);
      }
      totals[lane][column] = total;
    }
    __syncthreads();
    if (channel < channels && lane == 0) {
      double total = lanes > 0 ? totals[0][column] : 0.0;
      for (int other = 1; other < lanes; ++other) total = combine(total, totals[other][column], reduction);
      out[task / blocks_of_segment * channels + channel] =
          lanes > 0 ? finish<Value>(total, segment, reduction) : narrow<Value>(0.0);
    }
    __syncthreads();
  }
}

}  // namespace

template <typename Value>
cudaError_t segment_reduce(const Value* values, const int64_t* offsets, int64_t num_rows, int64_t num_segments,
                           int64_t channels, Reduction reduction, Value* out, cudaStream_t stream) {
  if (num_segments == 0 || channels == 0) return cudaSuccess;
  const bool long_segments = num_rows / num_segments >= kLongSegment;
  const int64_t tasks = long_segments ? num_segments * ((channels + kChannels - 1) / kChannels)
                                      : (num_segments * channels + kThreads - 1) / kThreads;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(tasks, 1 << 30));
  auto* kernel = long_segments ? long_segments_kernel<Value> : short_segments_kernel<Value>;
  return launch(kernel, blocks, kThreads, 0, stream, values, offsets, num_rows, num_segments, channels, reduction, out);
}

#define SPARSEOPS_REDUCE(Value)                                                                                   \
  template cudaError_t segment_reduce(const Value*, const int64_t*, int64_t, int64_t, int64_t, Reduction, Value*, \
                                      cudaStream_t)
SPARSEOPS_REDUCE(float);
SPARSEOPS_REDUCE(double);
SPARSEOPS_REDUCE(__half);
SPARSEOPS_REDUCE(__nv_bfloat16);

}  // namespace sparseops::gpu
