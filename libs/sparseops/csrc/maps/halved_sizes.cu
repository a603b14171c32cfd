// The sizes of all coarser levels at once: every level has a table, and a voxel that is new in one has a parent in the
// next.
#include "common/launch.cuh"
#include "common/threads.cuh"
#include "maps/maps_cuda.h"
#include "maps/voxel_table.cuh"

namespace sparseops::gpu {

using namespace common;

namespace {

struct Seen {
  Key key;
};

// Whether `key` was in no slot before.
__device__ bool insert_new(Seen* slots, uint32_t mask, Key key) {
  for (uint32_t slot = hash(key) & mask;; slot = (slot + 1) & mask) {
    const Key before = atomicCAS(&slots[slot].key, kFree, key);
    if (before == kFree) return true;
    if (before == key) return false;
  }
}

// One number a block: how many threads say yes.
__device__ void count(bool vote, int* total) {
  const int votes = __syncthreads_count(vote);
  if (threadIdx.x == 0 && votes > 0) atomicAdd(total, votes);
}

// `sizes` is 0 and the tables (num_levels, mask + 1) are free before.
__global__ void __launch_bounds__(kThreads) halved_sizes_kernel(const int64_t* coords, int num_voxels, int num_levels,
                                                                Seen* tables, uint32_t mask, int* sizes) {
  const int64_t row = thread_index();
  const bool here = row < num_voxels;
  Voxel voxel = voxel_at(coords, here ? row : 0);
  const bool inside = within_limits(voxel);
  count(here && row > 0 && voxel_at(coords, row - 1).key() >= voxel.key(), sizes + num_levels);
  count(here && !inside, sizes + num_levels + 1);
  bool is_new = here && inside;
  for (int level = 0; level < num_levels; ++level) {
    voxel = {voxel.batch, voxel.x >> 1, voxel.y >> 1, voxel.z >> 1};
    is_new = is_new && insert_new(tables + static_cast<int64_t>(level) * (mask + 1), mask, voxel.key());
    count(is_new, sizes + level);
  }
}

}  // namespace

int64_t halved_sizes_scratch(int num_voxels, int num_levels) {
  return static_cast<int64_t>(capacity_for(num_voxels)) * num_levels * static_cast<int64_t>(sizeof(Seen));
}

cudaError_t halved_sizes(const int64_t* coords, int num_voxels, int num_levels, int* sizes, void* scratch,
                         cudaStream_t stream) {
  cudaError_t error = cudaMemsetAsync(sizes, 0, (num_levels + 2) * sizeof(int), stream);
  if (error != cudaSuccess) return error;
  error = cudaMemsetAsync(scratch, 0xff, static_cast<size_t>(halved_sizes_scratch(num_voxels, num_levels)), stream);
  if (error != cudaSuccess) return error;
  return launch(halved_sizes_kernel, dim3(blocks_for(num_voxels)), kThreads, 0, stream, coords, num_voxels, num_levels,
                static_cast<Seen*>(scratch), capacity_for(num_voxels) - 1, sizes);
}

}  // namespace sparseops::gpu
