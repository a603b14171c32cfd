// Shared memory beyond what every kernel may take.
#pragma once

#include <cuda_runtime.h>
#include <atomic>
#include <cstdint>

namespace common {

// What was done or found on each of the first 64 devices.
class OnDevices {
 public:
  bool has(int device) const { return (bits_.load(std::memory_order_acquire) & bit(device)) != 0; }
  void add(int device) { bits_.fetch_or(bit(device), std::memory_order_release); }

 private:
  static uint64_t bit(int device) { return device < 64 ? uint64_t{1} << device : 0; }
  std::atomic<uint64_t> bits_{0};
};

// Lets `kernel` take all the shared memory that a block may have on the current device. `allowed` belongs to the
// kernel: the runtime is asked once a device.
inline cudaError_t allow_all_shared(const void* kernel, OnDevices& allowed) {
  int device = 0, limit = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error != cudaSuccess || allowed.has(device)) return error;
  cudaFuncAttributes attributes{};
  error = cudaFuncGetAttributes(&attributes, kernel);
  if (error != cudaSuccess) return error;
  error = cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error != cudaSuccess) return error;
  error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               limit - static_cast<int>(attributes.sharedSizeBytes));
  if (error == cudaSuccess) allowed.add(device);
  return error;
}

}  // namespace common
