// Stable sort of pairs by CUB, which comes with the CUDA toolkit.
#include <cub/device/device_radix_sort.cuh>

#include "radix_sort.h"

namespace common {

size_t radix_sort_scratch(int num_pairs, int num_bits) {
  size_t bytes = 0;
  cub::DoubleBuffer<uint64_t> keys;
  cub::DoubleBuffer<uint32_t> values;
  const cudaError_t error = cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys, values, num_pairs, 0, num_bits);
  return error == cudaSuccess ? bytes : 0;
}

cudaError_t radix_sort(Pairs pairs, int num_pairs, int num_bits, void* scratch, size_t scratch_bytes,
                       cudaStream_t stream, SortedPairs* sorted) {
  cub::DoubleBuffer<uint64_t> keys(pairs.keys[0], pairs.keys[1]);
  cub::DoubleBuffer<uint32_t> values(pairs.values[0], pairs.values[1]);
  const cudaError_t error =
      cub::DeviceRadixSort::SortPairs(scratch, scratch_bytes, keys, values, num_pairs, 0, num_bits, stream);
  *sorted = {keys.Current(), values.Current()};
  return error;
}

}  // namespace common
