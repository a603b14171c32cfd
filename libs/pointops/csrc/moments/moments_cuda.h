// Moments of neighbours on a GPU, on device pointers; starts a kernel and returns what the start failed with.
#pragma once

#include <cuda_runtime.h>

#include "moments/moments.h"

namespace pointops::gpu {

// out (kMoments, queries)
cudaError_t neighbour_moments(const Neighbourhoods& of, double* out, cudaStream_t stream);

}  // namespace pointops::gpu
