// Indices that cut clouds into patches, on a GPU.
#include <algorithm>

#include "common/launch.cuh"
#include "patches/patches_cuda.h"

namespace sparseops::gpu {

using namespace common;

namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ __forceinline__ int64_t cloud_start(const int64_t* offset, int64_t cloud) {
  return cloud == 0 ? 0 : offset[cloud - 1];
}

__device__ __forceinline__ int sum_up_to_lane(int value, int lane) {
  for (int step = 1; step < kWarp; step *= 2) {
    const int below = __shfl_up_sync(kAllLanes, value, step);
    if (lane >= step) value += below;
  }
  return value;
}

// Where the padded points and the patches of each cloud begin; one warp.
__global__ void __launch_bounds__(kWarp) cloud_starts_kernel(const int64_t* offset, int64_t num_clouds,
                                                             int64_t patch_size, int* padded_start, int* first_patch) {
  __shared__ int padded_before, patches_before;
  const int lane = static_cast<int>(threadIdx.x);
  if (lane == 0) padded_before = patches_before = 0;
  __syncwarp();
  for (int64_t base = 0; base < num_clouds; base += kWarp) {
    const int64_t cloud = base + lane;
    const int64_t count = cloud < num_clouds ? offset[cloud] - cloud_start(offset, cloud) : 0;
    const int64_t patches = (count + patch_size - 1) / patch_size;
    const int padded = static_cast<int>(patches > 1 ? patches * patch_size : count);
    const int padded_end = padded_before + sum_up_to_lane(padded, lane);
    const int patches_end = patches_before + sum_up_to_lane(static_cast<int>(patches), lane);
    if (cloud < num_clouds) {
      padded_start[cloud] = padded_end - padded;
      first_patch[cloud] = patches_end - static_cast<int>(patches);
    }
    __syncwarp();
    if (lane == kWarp - 1) {
      padded_before = padded_end;
      patches_before = patches_end;
    }
    __syncwarp();
  }
}

// A thread writes one padded point, the one behind the last the end of the last patch.
__global__ void __launch_bounds__(kThreads)
    padding_kernel(const int64_t* offset, int64_t num_clouds, int64_t patch_size, int64_t num_padded,
                   int64_t num_patches, const int* padded_start, const int* first_patch, int64_t* pad, int64_t* unpad,
                   int32_t* cu_seqlens) {
  const int64_t slot = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (slot == num_padded) cu_seqlens[num_patches] = static_cast<int32_t>(num_padded);
  if (slot >= num_padded) return;
  int64_t cloud = 0, beyond = num_clouds;  // the last cloud that begins at or before the slot
  while (beyond - cloud > 1) {
    const int64_t middle = (cloud + beyond) / 2;
    (padded_start[middle] <= slot ? cloud : beyond) = middle;
  }
  const int64_t start = cloud_start(offset, cloud), count = offset[cloud] - start;
  const int64_t place = slot - padded_start[cloud];
  pad[slot] = start + (place < count ? place : place - patch_size);
  if (place < count) unpad[start + place] = slot;
  if (place % patch_size == 0) cu_seqlens[first_patch[cloud] + place / patch_size] = static_cast<int32_t>(slot);
}

}  // namespace

int64_t patch_padding_scratch(int64_t num_clouds) { return 2 * num_clouds * static_cast<int64_t>(sizeof(int)); }

cudaError_t patch_padding(const int64_t* offset, int64_t num_clouds, int64_t patch_size, int64_t num_padded,
                          int64_t num_patches, int64_t* pad, int64_t* unpad, int32_t* cu_seqlens, void* scratch,
                          cudaStream_t stream) {
  int* padded_start = static_cast<int*>(scratch);
  int* first_patch = padded_start + num_clouds;
  const cudaError_t error =
      launch(cloud_starts_kernel, 1, kWarp, 0, stream, offset, num_clouds, patch_size, padded_start, first_patch);
  if (error != cudaSuccess) return error;
  const auto blocks = static_cast<unsigned>(num_padded / kThreads + 1);
  return launch(padding_kernel, blocks, kThreads, 0, stream, offset, num_clouds, patch_size, num_padded, num_patches,
                padded_start, first_patch, pad, unpad, cu_seqlens);
}

}  // namespace sparseops::gpu
