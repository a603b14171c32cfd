// The launch functions of kernel maps and convolution under C names, and the few calls of the CUDA runtime they make.
#include "conv_cuda.h"
#include "launch.cuh"
#include "maps_cuda.h"

using namespace sparseops::gpu;

extern "C" {

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

static int shared_bytes;  // of a multiprocessor

// As a device of compute capability 8.6 with two multiprocessors.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int) {
  *value = name == cudaDevAttrComputeCapabilityMajor             ? 8
           : name == cudaDevAttrMaxSharedMemoryPerBlockOptin     ? 101376
           : name == cudaDevAttrMaxSharedMemoryPerMultiprocessor ? shared_bytes
                                                                 : 2;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t) {
  std::memset(at, value, bytes);
  return cudaSuccess;
}

void set_order(bool late_copies, bool backwards) {
  emulated::late_copies = late_copies;
  emulated::backwards = backwards;
}

void set_shared_bytes(int bytes) { shared_bytes = bytes; }

int emulated_submanifold_map(const int64_t* coords, int num_voxels, int kernel_size, int* forwards) {
  std::vector<char> scratch(submanifold_map_scratch(num_voxels) + 256);
  char* aligned = scratch.data() + 256 - reinterpret_cast<uintptr_t>(scratch.data()) % 256;
  return submanifold_map(coords, num_voxels, kernel_size, forwards, aligned, nullptr);
}

int emulated_strided_map(const int64_t* coords, int num_voxels, int64_t* coarse, int* children, int* parents,
                         int* result) {
  std::vector<char> scratch(strided_map_scratch(num_voxels) + 256);
  char* aligned = scratch.data() + 256 - reinterpret_cast<uintptr_t>(scratch.data()) % 256;
  const cudaError_t error =
      strided_map_size(coords, num_voxels, reinterpret_cast<StridedResult*>(result), aligned, nullptr);
  return error != cudaSuccess ? error : strided_map(coords, num_voxels, coarse, children, parents, aligned, nullptr);
}

int emulated_group_rows(const int* forwards, int num_offsets, int num_out, int* grouped, int* order) {
  std::vector<char> scratch(group_rows_scratch(num_offsets, num_out) + 256);
  char* aligned = scratch.data() + 256 - reinterpret_cast<uintptr_t>(scratch.data()) % 256;
  return group_rows(forwards, num_offsets, num_out, grouped, order, aligned, nullptr);
}

int emulated_convolve(int type, const void* features, const void* weight, const int* forwards, const int* order,
                      const float* bias, const void* residual, void* out, int num_in, int num_out, int num_offsets,
                      int in_channels, int out_channels, bool relu) {
  return convolve(static_cast<ConvType>(type), {features, weight, forwards, order, bias, residual, out, num_in,
                                                num_out, num_offsets, in_channels, out_channels, relu}, nullptr);
}
}
