// Neighbours of voxels in a centred kernel, of several levels at once.
#include <algorithm>

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

// A level: its voxels are `count` threads from `first` on.
struct Level {
  const int64_t* coords;
  int* forwards;
  Quad* quads;
  uint32_t mask;
  int first, count, size;
};

struct Levels {
  Level at[kMaxMaps];
  int count;

  // The level whose thread this is, or the last.
  __device__ const Level& of(int64_t thread) const {
    int level = 0;
    while (level + 1 < count && thread >= at[level + 1].first) ++level;
    return at[level];
  }
};

__global__ void __launch_bounds__(kThreads) insert_voxels(const Levels levels) {
  const Level& level = levels.of(thread_index());
  const int64_t row = thread_index() - level.first;
  if (row >= level.count) return;
  const Key key = voxel_at(level.coords, row).key();
  int* rows = reinterpret_cast<int*>(&level.quads[insert(level.quads, level.mask, key >> 2)].rows);
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
__global__ void __launch_bounds__(kThreads) find_neighbours(const Levels levels) {
  const Level& level = levels.of(thread_index());
  const int64_t row = thread_index() - level.first, num_voxels = level.count;
  const int size = level.size, half = size / 2, column = blockIdx.y, last_offset = size * size * size - 1;
  if (row >= num_voxels || column > size * size / 2) return;
  const int dx = column / size - half, dy = column % size - half;
  const bool middle = dx == 0 && dy == 0;
  int* const forwards = level.forwards;
  if (middle) forwards[last_offset / 2 * num_voxels + row] = static_cast<int>(row);

  const Voxel voxel = voxel_at(level.coords, row);
  const Voxel there = {voxel.batch, voxel.x + dx, voxel.y + dy, 0};
  if (there.x < 0 || there.x >= kCoordLimit || there.y < 0 || there.y >= kCoordLimit) return;
  const int64_t low = max(voxel.z - half, int64_t{0});
  const int64_t high = min(middle ? voxel.z - 1 : voxel.z + half, kCoordLimit - 1);
  for (int64_t quad = low >> 2; quad <= high >> 2; ++quad) {
    const int4 found = find_quad(level.quads, level.mask, there.key() >> 2 | static_cast<Key>(quad));
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

int64_t submanifold_maps_scratch(const MapRequest* requests, int count) {
  int64_t slots = 0;
  for (int i = 0; i < count; ++i) slots += capacity_for(requests[i].num_voxels);
  return slots * static_cast<int64_t>(sizeof(Quad));
}

cudaError_t submanifold_maps(const MapRequest* requests, int count, int* forwards, int64_t num_entries, void* scratch,
                             cudaStream_t stream) {
  if (count > kMaxMaps) return cudaErrorInvalidValue;
  auto* quads = static_cast<Quad*>(scratch);
  Levels levels{};
  int64_t threads = 0;
  int columns = 0;
  for (int i = 0; i < count; ++i) {
    const MapRequest& request = requests[i];
    if (request.num_voxels == 0) continue;
    const uint32_t capacity = capacity_for(request.num_voxels);
    levels.at[levels.count++] = {request.coords,     forwards + request.first_entry, quads,
                                 capacity - 1,       static_cast<int>(threads),      request.num_voxels,
                                 request.kernel_size};
    quads += capacity;
    threads += request.num_voxels;
    columns = std::max(columns, request.kernel_size * request.kernel_size / 2 + 1);
  }
  if (threads == 0) return cudaSuccess;
  if (threads > INT32_MAX) return cudaErrorInvalidValue;
  cudaError_t error =
      cudaMemsetAsync(scratch, 0xff, static_cast<size_t>(submanifold_maps_scratch(requests, count)), stream);
  if (error != cudaSuccess) return error;
  error = cudaMemsetAsync(forwards, 0xff, static_cast<size_t>(num_entries) * sizeof(int), stream);
  if (error != cudaSuccess) return error;
  const unsigned blocks = blocks_for(threads);
  error = launch(insert_voxels, dim3(blocks), kThreads, 0, stream, levels);
  if (error != cudaSuccess) return error;
  return launch(find_neighbours, dim3(blocks, static_cast<unsigned>(columns)), kThreads, 0, stream, levels);
}

}  // namespace sparseops::gpu
