// Levels of coarser voxels on a GPU: a thread a row, and running sums.
#include <algorithm>

#include "common/launch.cuh"
#include "common/scan.h"
#include "common/scratch.h"
#include "common/threads.cuh"
#include "levels/levels_cuda.h"

namespace sparseops::gpu {

using namespace common;

namespace {

constexpr int kRowsPerThread = 16;
constexpr int kLargest = 0x7fffffff;

// What a thread has seen of one cloud.
struct Extent {
  int count, largest;
  __device__ void add_to(int32_t* extent) const {
    if (count == 0) return;
    atomicAdd(extent, count);
    atomicMax(extent + 1, largest);
  }
};

// Most blocks see one cloud, which is summed in shared memory first. `extents` is 0 before.
__global__ void __launch_bounds__(kThreads) extents_kernel(const int64_t* coords, int64_t n, int32_t* extents) {
  __shared__ int32_t of_block[2];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads * kRowsPerThread;
  const auto place = [&](int64_t row) {
    const int64_t* own = coords + 4 * row;
    const bool right = own[0] >= 0 && own[0] < kMaxClouds && (own[1] | own[2] | own[3]) >= 0;
    return right ? own[0] : kMaxClouds;
  };
  const int64_t common_place = place(first);
  if (threadIdx.x < 2) of_block[threadIdx.x] = 0;
  __syncthreads();
  Extent seen{0, 0};
  int64_t at = common_place;
  for (int64_t row = first + threadIdx.x; row < min(first + kThreads * kRowsPerThread, n); row += kThreads) {
    const int64_t own_place = place(row);
    if (own_place != at) {
      seen.add_to(at == common_place ? of_block : extents + 2 * at);
      seen = {0, 0};
      at = own_place;
    }
    const int64_t* own = coords + 4 * row;
    const int64_t largest = own_place < kMaxClouds ? max(own[1], max(own[2], own[3])) : 0;
    seen.largest = max(seen.largest, static_cast<int>(min(largest, static_cast<int64_t>(kLargest))));
    ++seen.count;
  }
  seen.add_to(at == common_place ? of_block : extents + 2 * at);
  __syncthreads();
  if (threadIdx.x == 0) Extent{of_block[0], of_block[1]}.add_to(extents + 2 * common_place);
}

__global__ void __launch_bounds__(kThreads)
    first_rows_kernel(ShiftedVoxels voxels, int64_t n, int num_levels, int32_t* is_first) {
  const int64_t row = thread_index();
  if (row >= n) return;
  const uint64_t differing = voxels.differing(row);
  for (int level = 0; level < num_levels; ++level) {
    is_first[level * n + row] = differing >> voxels.shift(level, voxels.coords[4 * row]) != 0;
  }
}

__global__ void __launch_bounds__(kThreads)
    rows_kernel(ShiftedVoxels voxels, const int32_t* ranks, int64_t n, CoarseLevels levels, int64_t* coarse,
                int64_t* parents, int64_t* starts) {
  const int64_t row = thread_index();
  if (row < n) place_row(voxels, ranks, levels, n, row, coarse, parents, starts);
}

// Whether the place along curve blockIdx.y is the first in a voxel of each level.
__global__ void __launch_bounds__(kThreads)
    first_places_kernel(const int32_t* orders, int64_t n, int64_t num_curves, const int64_t* parents,
                        CoarseLevels levels, int32_t* is_first) {
  const int64_t place = thread_index(), curve = blockIdx.y;
  if (place >= n) return;
  const int32_t* order = orders + curve * n;
  int64_t row = within(order[place], n), before = place > 0 ? within(order[place - 1], n) : row;
  for (int level = 0; level < levels.count; ++level) {
    if (row != before) {
      const int64_t* parents_of = parents + levels.at[level].begin_parents;
      row = parents_of[row];
      before = parents_of[before];
    }
    is_first[(level * num_curves + curve) * n + place] = place == 0 || row != before;
  }
}

// `counts` are the running sums of first_places_kernel.
__global__ void __launch_bounds__(kThreads)
    orders_kernel(const int32_t* orders, int64_t n, int64_t num_curves, const int64_t* parents, CoarseLevels levels,
                  const int32_t* counts, int32_t* coarse_orders, int32_t* coarse_inverses) {
  const int64_t place = thread_index(), curve = blockIdx.y;
  if (place >= n) return;
  int64_t row = within(orders[curve * n + place], n);
  for (int l = 0; l < levels.count; ++l) {
    const CoarseLevel& level = levels.at[l];
    const int32_t* counted = counts + (l * num_curves + curve) * n;
    if (place > 0 && counted[place] == counted[place - 1]) return;
    const int64_t begin = num_curves * level.begin + curve * level.size;
    const int64_t rank = within(counted[place] - begin - 1, level.size);
    row = parents[level.begin_parents + row];
    coarse_orders[begin + rank] = static_cast<int32_t>(row);
    coarse_inverses[begin + row] = static_cast<int32_t>(rank);
  }
}

}  // namespace

cudaError_t cloud_extents(const int64_t* coords, int64_t n, int32_t* extents, cudaStream_t stream) {
  const cudaError_t error = cudaMemsetAsync(extents, 0, 2 * (kMaxClouds + 1) * sizeof(int32_t), stream);
  if (error != cudaSuccess) return error;
  return launch(extents_kernel, dim3(blocks_for(n, kThreads * kRowsPerThread)), kThreads, 0, stream, coords, n,
                extents);
}

int64_t coarse_ranks_scratch(int64_t n, int num_levels) {
  return static_cast<int64_t>(running_sum_scratch(static_cast<int>(n * num_levels)));
}

cudaError_t coarse_ranks(const ShiftedVoxels& voxels, int64_t n, int num_levels, int32_t* ranks, void* scratch,
                         cudaStream_t stream) {
  if (n == 0 || num_levels == 0) return cudaSuccess;
  const cudaError_t error =
      launch(first_rows_kernel, dim3(blocks_for(n)), kThreads, 0, stream, voxels, n, num_levels, ranks);
  if (error != cudaSuccess) return error;
  return running_sum(ranks, static_cast<int>(n * num_levels), scratch,
                     static_cast<size_t>(coarse_ranks_scratch(n, num_levels)), stream);
}

cudaError_t coarse_rows(const ShiftedVoxels& voxels, const int32_t* ranks, int64_t n, const CoarseLevels& levels,
                        int64_t* coarse, int64_t* parents, int64_t* starts, cudaStream_t stream) {
  return launch(rows_kernel, dim3(blocks_for(n)), kThreads, 0, stream, voxels, ranks, n, levels, coarse, parents,
                starts);
}

namespace {

// The parts of scratch memory.
struct Parts {
  int32_t* counts;  // (levels, curves, n)
  size_t library_bytes;
  void* library;  // of the sums
};

Parts split(Scratch& scratch, int64_t num_counts) {
  Parts parts{};
  parts.counts = scratch.take<int32_t>(num_counts);
  parts.library_bytes = running_sum_scratch(static_cast<int>(num_counts));
  parts.library = scratch.take<char>(static_cast<int64_t>(parts.library_bytes));
  return parts;
}

}  // namespace

int64_t coarse_orders_scratch(int64_t n, int64_t num_curves, int num_levels) {
  Scratch counted;
  split(counted, n * num_curves * num_levels);
  return counted.used();
}

cudaError_t coarse_orders(const int32_t* orders, int64_t num_curves, const int64_t* parents, const CoarseLevels& levels,
                          int32_t* coarse_orders, int32_t* coarse_inverses, void* memory, cudaStream_t stream) {
  const int64_t n = levels.count > 0 ? levels.at[0].finer_size : 0, num_counts = n * num_curves * levels.count;
  if (num_counts == 0) return cudaSuccess;
  Scratch scratch(memory);
  const Parts parts = split(scratch, num_counts);
  const dim3 blocks(blocks_for(n), static_cast<unsigned>(num_curves));
  cudaError_t error =
      launch(first_places_kernel, blocks, kThreads, 0, stream, orders, n, num_curves, parents, levels, parts.counts);
  if (error != cudaSuccess) return error;
  error = running_sum(parts.counts, static_cast<int>(num_counts), parts.library, parts.library_bytes, stream);
  if (error != cudaSuccess) return error;
  return launch(orders_kernel, blocks, kThreads, 0, stream, orders, n, num_curves, parents, levels, parts.counts,
                coarse_orders, coarse_inverses);
}

}  // namespace sparseops::gpu
