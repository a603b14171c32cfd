// Kernels that have a thread an item.
#pragma once

#include <cuda_runtime.h>
#include <cstdint>

namespace common {

constexpr int kThreads = 256;  // of a block

inline unsigned blocks_for(int64_t threads, int per_block = kThreads) {
  return static_cast<unsigned>((threads + per_block - 1) / per_block);
}

__device__ inline int64_t thread_index() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

}  // namespace common
