// Neighbours of voxels in a centred kernel.
#include "common/launch.cuh"
#include "common/threads.cuh"
#include "maps/maps_cuda.h"
#include "maps/voxel_table.cuh"

namespace sparseops::gpu {

using namespace common;

namespace {

// Four voxels consecutive in z: one search finds a neighbour and those beside it.
struct alignas(32) Quad {
  Key key;
  Key unused;
  int4 rows;
};

__global__ void insert_voxels(const int64_t* coords, int num_voxels, Quad* quads, uint32_t mask) {
  const int64_t row = thread_index();
  if (row >= num_voxels) return;
  const Key key = voxel_at(coords, row).key();
  int* rows = reinterpret_cast<int*>(&quads[insert(quads, mask, key >> 2)].rows);
  atomicMax(rows + (key & 3), static_cast<int>(row));  // the same row on every run, should voxels repeat
}

__device__ int4 find_quad(const Quad* quads, uint32_t mask, Key key) {
  for (uint32_t slot = hash(key) & mask;; slot = (slot + 1) & mask) {
    const Key found = __ldg(&quads[slot].key);
    const int4 rows = __ldg(&quads[slot].rows);
    if (found == key) return rows;
    if (found == kFree) return make_int4(-1, -1, -1, -1);
  }
}

// A thread looks along z in one column of the kernel, blockIdx.y, of the columns up to the middle one; the offsets
// beyond have the same pairs backwards. forwards is -1 throughout before.
__global__ void find_neighbours(const int64_t* coords, int num_voxels, int half, const Quad* quads, uint32_t mask,
                                int* forwards) {
  const int64_t row = thread_index();
  if (row >= num_voxels) return;
  const int size = 2 * half + 1, column = blockIdx.y, last_offset = size * size * size - 1;
  const int dx = column / size - half, dy = column % size - half;
  const bool middle = dx == 0 && dy == 0;
  if (middle) forwards[static_cast<int64_t>(last_offset / 2) * num_voxels + row] = static_cast<int>(row);

  const Voxel voxel = voxel_at(coords, row);
  const Voxel there = {voxel.batch, voxel.x + dx, voxel.y + dy, 0};
  if (there.x < 0 || there.x >= kCoordLimit || there.y < 0 || there.y >= kCoordLimit) return;
  const int64_t low = max(voxel.z - half, int64_t{0});
  const int64_t high = min(middle ? voxel.z - 1 : voxel.z + half, kCoordLimit - 1);
  for (int64_t quad = low >> 2; quad <= high >> 2; ++quad) {
    const int4 found = find_quad(quads, mask, there.key() >> 2 | static_cast<Key>(quad));
    const int rows[4] = {found.x, found.y, found.z, found.w};
#pragma unroll
    for (int cell = 0; cell < 4; ++cell) {
      const int64_t z = quad * 4 + cell;
      if (rows[cell] < 0 || z < low || z > high) continue;
      const int64_t offset = column * size + (z - voxel.z + half);
      forwards[offset * num_voxels + row] = rows[cell];
      forwards[(last_offset - offset) * num_voxels + rows[cell]] = static_cast<int>(row);
    }
  }
}

}  // namespace

int64_t submanifold_map_scratch(int num_voxels) {
  return static_cast<int64_t>(capacity_for(num_voxels)) * static_cast<int64_t>(sizeof(Quad));
}

cudaError_t submanifold_map(const int64_t* coords, int num_voxels, int kernel_size, int* forwards, void* scratch,
                            cudaStream_t stream) {
  if (num_voxels == 0) return cudaSuccess;
  auto* quads = static_cast<Quad*>(scratch);
  const uint32_t capacity = capacity_for(num_voxels);
  const int64_t offsets = static_cast<int64_t>(kernel_size) * kernel_size * kernel_size;
  cudaError_t error = cudaMemsetAsync(quads, 0xff, capacity * sizeof(Quad), stream);
  if (error != cudaSuccess) return error;
  error = cudaMemsetAsync(forwards, 0xff, offsets * num_voxels * sizeof(int), stream);
  if (error != cudaSuccess) return error;
  const unsigned blocks = blocks_for(num_voxels);
  error = launch(insert_voxels, dim3(blocks), kThreads, 0, stream, coords, num_voxels, quads, capacity - 1);
  if (error != cudaSuccess) return error;
  const unsigned columns = static_cast<unsigned>(kernel_size * kernel_size / 2 + 1);
  return launch(find_neighbours, dim3(blocks, columns), kThreads, 0, stream, coords, num_voxels, kernel_size / 2, quads,
                capacity - 1, forwards);
}

}  // namespace sparseops::gpu
