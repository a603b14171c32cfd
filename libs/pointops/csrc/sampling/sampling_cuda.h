// Farthest point sampling on a GPU, on device pointers; starts a kernel and returns what the start failed with.
#pragma once

#include "search/search_cuda.h"

namespace pointops::gpu {

// distance2 (points): scratch
cudaError_t farthest_point_sampling(const float* xyz, const float4* sorted, Clouds clouds, Clouds samples,
                                    float* distance2, int32_t* index, cudaStream_t stream);

}  // namespace pointops::gpu
