// Stable sort of pairs on a GPU.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace pointops::gpu {

// Two buffers each: `keys[0]` and `values[0]` hold what is to be sorted, the others are free. All are overwritten, as
// are num_bytes of radix_sort_scratch.
struct SortBuffers {
  uint64_t* keys[2];
  uint32_t* values[2];
  void* bytes;
  size_t num_bytes;
};

size_t radix_sort_scratch(int num_pairs, int num_bits);

// Sorts by the low `num_bits` of the keys; `*sorted` becomes the buffer that holds the sorted values.
cudaError_t radix_sort(SortBuffers buffers, int num_pairs, int num_bits, cudaStream_t stream, const uint32_t** sorted);

}  // namespace pointops::gpu
