// Stable sort of pairs on a GPU.
#pragma once

#include <cuda_runtime.h>
#include <cstddef>
#include <cstdint>

#include "scratch.h"

namespace common {

// Two buffers each: `keys[0]` and `values[0]` hold what is to be sorted, the others are free. All are overwritten.
struct Pairs {
  uint64_t* keys[2];
  uint32_t* values[2];
};

inline Pairs take_pairs(Scratch& scratch, int64_t num_pairs) {
  Pairs pairs;
  for (auto& keys : pairs.keys) keys = scratch.take<uint64_t>(num_pairs);
  for (auto& values : pairs.values) values = scratch.take<uint32_t>(num_pairs);
  return pairs;
}

// The buffers that hold what is sorted.
struct SortedPairs {
  const uint64_t* keys;
  const uint32_t* values;
};

size_t radix_sort_scratch(int num_pairs, int num_bits);

// Sorts by the low `num_bits` of the keys.
cudaError_t radix_sort(Pairs pairs, int num_pairs, int num_bits, void* scratch, size_t scratch_bytes,
                       cudaStream_t stream, SortedPairs* sorted);

}  // namespace common
