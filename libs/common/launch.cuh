// How kernels are started and get at their shared memory.
#pragma once

#include <cuda_runtime.h>
#include <cstddef>
#include <cstdint>

namespace common {

// Starts a kernel and returns what the start failed with. A grid without blocks starts nothing.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 blocks, int threads, size_t shared_bytes, cudaStream_t stream,
                   Arguments... arguments) {
  if (blocks.x == 0 || blocks.y == 0) return cudaSuccess;
  kernel<<<blocks, threads, shared_bytes, stream>>>(arguments...);
  return cudaGetLastError();
}

__device__ __forceinline__ char* dynamic_shared() {
  extern __shared__ uint4 shared_memory[];
  return reinterpret_cast<char*>(shared_memory);
}

}  // namespace common
