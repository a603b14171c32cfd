// Steps between levels on a GPU: a thread a value.
#include "block/pooling_cuda.h"
#include "common/launch.cuh"
#include "common/packs.cuh"
#include "common/threads.cuh"
#include "conv/conv_store.cuh"

namespace sparseops::gpu {

using namespace common;

namespace {

__device__ __forceinline__ int64_t within(int64_t row, int64_t low, int64_t high) { return max(low, min(row, high)); }

template <typename T>
__global__ void __launch_bounds__(kThreads) pool_kernel(const PoolingArguments<T> arguments) {
  const int64_t index = thread_index(), segment = index / arguments.channels;
  if (segment >= arguments.num_segments) return;
  const auto channel = static_cast<int>(index - segment * arguments.channels);
  const int64_t begin = within(arguments.starts[segment], 0, arguments.num_rows);
  const int64_t end = within(arguments.starts[segment + 1], begin, arguments.num_rows);
  float largest = begin < end ? to_float(arguments.values[begin * arguments.channels + channel]) : 0.f;
  for (int64_t row = begin + 1; row < end; ++row) {
    const float value = to_float(arguments.values[row * arguments.channels + channel]);
    if (value > largest || value != value) largest = value;  // a NaN stays: nothing is above it
  }
  const float scale = rsqrtf(arguments.variance[channel] + arguments.eps);
  const float factor = arguments.weight == nullptr ? scale : scale * arguments.weight[channel];
  const float shift = arguments.bias == nullptr ? 0.f : arguments.bias[channel];
  from_float(gelu<T>((largest - arguments.mean[channel]) * factor + shift), arguments.out[index]);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    add_rows_kernel(const T* x, const T* others, const int64_t* rows, int64_t num_rows, int64_t num_others,
                    int64_t channels, T* out) {
  const int64_t index = thread_index(), row = index / channels;
  if (row >= num_rows) return;
  const int64_t other = within(rows[row], 0, num_others - 1);
  from_float(to_float(x[index]) + to_float(others[other * channels + index - row * channels]), out[index]);
}

}  // namespace

template <typename T>
cudaError_t pool_segments(const PoolingArguments<T>& arguments, cudaStream_t stream) {
  const dim3 blocks(blocks_for(arguments.num_segments * arguments.channels));
  return launch(pool_kernel<T>, blocks, kThreads, 0, stream, arguments);
}

template <typename T>
cudaError_t add_rows(const T* x, const T* others, const int64_t* rows, int64_t num_rows, int64_t num_others,
                     int64_t channels, T* out, cudaStream_t stream) {
  if (num_others == 0) return num_rows == 0 ? cudaSuccess : cudaErrorInvalidValue;
  const dim3 blocks(blocks_for(num_rows * channels));
  return launch(add_rows_kernel<T>, blocks, kThreads, 0, stream, x, others, rows, num_rows, num_others, channels, out);
}

#define SPARSEOPS_POOLING(T)                                                    \
  template cudaError_t pool_segments(const PoolingArguments<T>&, cudaStream_t); \
  template cudaError_t add_rows(const T*, const T*, const int64_t*, int64_t, int64_t, int64_t, T*, cudaStream_t)
SPARSEOPS_POOLING(float);
SPARSEOPS_POOLING(__half);
SPARSEOPS_POOLING(__nv_bfloat16);

}  // namespace sparseops::gpu
