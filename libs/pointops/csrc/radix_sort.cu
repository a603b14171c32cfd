// By CUB, which comes with the CUDA toolkit.
#include "radix_sort.h"

#include <cub/device/device_radix_sort.cuh>

namespace pointops::gpu {

size_t radix_sort_scratch(int num_pairs, int num_bits) {
  size_t bytes = 0;
  cub::DoubleBuffer<uint64_t> keys;
  cub::DoubleBuffer<uint32_t> values;
  const cudaError_t error = cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys, values, num_pairs, 0, num_bits);
  return error == cudaSuccess ? bytes : 0;
}

cudaError_t radix_sort(SortBuffers buffers, int num_pairs, int num_bits, cudaStream_t stream, const uint32_t** sorted) {
  cub::DoubleBuffer<uint64_t> keys(buffers.keys[0], buffers.keys[1]);
  cub::DoubleBuffer<uint32_t> values(buffers.values[0], buffers.values[1]);
  const cudaError_t error = cub::DeviceRadixSort::SortPairs(buffers.bytes, buffers.num_bytes, keys, values, num_pairs, 0,
                                                            num_bits, stream);
  *sorted = values.Current();
  return error;
}

}  // namespace pointops::gpu
