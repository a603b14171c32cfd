// How kernels are started.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pointops::gpu {

// Starts a kernel and returns what the start failed with. A grid without blocks starts nothing.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(
    void (*kernel)(Parameters...), int64_t blocks, int threads, cudaStream_t stream, Arguments... arguments) {
  if (blocks == 0) return cudaSuccess;
  kernel<<<static_cast<unsigned>(blocks), threads, 0, stream>>>(arguments...);
  return cudaGetLastError();
}

}  // namespace pointops::gpu
