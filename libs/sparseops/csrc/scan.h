// Running sums on a GPU.
#pragma once

#include <cstddef>
#include <cuda_runtime.h>

namespace sparseops::gpu {

size_t running_sum_scratch(int num_values);

// Each value becomes the sum of all up to it.
cudaError_t running_sum(int* values, int num_values, void* scratch, size_t scratch_bytes, cudaStream_t stream);

}  // namespace sparseops::gpu
