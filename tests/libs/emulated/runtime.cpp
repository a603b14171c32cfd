// What the kernels call beside themselves: a few functions of the CUDA runtime, and a sort and running sums in the
// place of CUB's. Functions set_… choose between things that a device may do either way.
#include "common/launch.cuh"
#include "common/radix_sort.h"
#include "common/scan.h"

extern "C" {

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

static int shared_bytes = 100 << 10;  // of a multiprocessor
static int capability = 8;            // the first number of it

// As a device with two multiprocessors.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int) {
  *value = name == cudaDevAttrComputeCapabilityMajor             ? capability
           : name == cudaDevAttrMaxSharedMemoryPerBlockOptin     ? 101376
           : name == cudaDevAttrMaxSharedMemoryPerMultiprocessor ? shared_bytes
                                                                 : 2;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t) {
  std::memset(at, value, bytes);
  return cudaSuccess;
}

void set_late_copies(bool late) { emulated::late_copies = late; }
void set_backwards(bool backwards) { emulated::backwards = backwards; }
void set_shared_bytes(int bytes) { shared_bytes = bytes; }
void set_capability(int major) { capability = major; }
}

namespace common {

size_t radix_sort_scratch(int, int) { return 8; }

cudaError_t radix_sort(Pairs pairs, int num_pairs, int num_bits, void*, size_t, cudaStream_t, SortedPairs* sorted) {
  const uint64_t mask = num_bits < 64 ? (uint64_t{1} << num_bits) - 1 : ~uint64_t{0};
  std::vector<int> order(num_pairs);
  for (int i = 0; i < num_pairs; ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return (pairs.keys[0][a] & mask) < (pairs.keys[0][b] & mask); });
  for (int i = 0; i < num_pairs; ++i) {
    pairs.keys[1][i] = pairs.keys[0][order[i]];
    pairs.values[1][i] = pairs.values[0][order[i]];
  }
  *sorted = {pairs.keys[1], pairs.values[1]};
  return cudaSuccess;
}

size_t running_sum_scratch(int) { return 8; }

cudaError_t running_sum(int* values, int num_values, void*, size_t, cudaStream_t) {
  for (int i = 1; i < num_values; ++i) values[i] += values[i - 1];
  return cudaSuccess;
}

}  // namespace common
