// Running sums by CUB, which comes with the CUDA toolkit.
#include <cub/device/device_scan.cuh>

#include "scan.h"

namespace common {

size_t running_sum_scratch(int num_values) {
  size_t bytes = 0;
  int* values = nullptr;
  const cudaError_t error = cub::DeviceScan::InclusiveSum(nullptr, bytes, values, values, num_values);
  return error == cudaSuccess ? bytes : 0;
}

cudaError_t running_sum(int* values, int num_values, void* scratch, size_t scratch_bytes, cudaStream_t stream) {
  return cub::DeviceScan::InclusiveSum(scratch, scratch_bytes, values, values, num_values, stream);
}

}  // namespace common
