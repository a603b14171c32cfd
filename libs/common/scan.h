// Running sums on a GPU.
#pragma once

#include <cuda_runtime.h>
#include <cstddef>

namespace common {

size_t running_sum_scratch(int num_values);

// Each value becomes the sum of all up to it.
cudaError_t running_sum(int* values, int num_values, void* scratch, size_t scratch_bytes, cudaStream_t stream);

}  // namespace common
