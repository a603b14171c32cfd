// Points to the voxels of a grid on a GPU: cells and the box around them, keys, a sort, and where voxels begin.
#include <algorithm>

#include "common/launch.cuh"
#include "common/radix_sort.h"
#include "common/scan.h"
#include "common/threads.cuh"
#include "grid/grid_cuda.h"

namespace sparseops::gpu {

using namespace common;

namespace {

constexpr int kKeyBits = 64;
constexpr unsigned kBoxBlocks = 1024;  // each finds the box of its points before it widens that of all

// Bounds of cells as numbers that only fall, all bits set where there is no cell yet: the lowest of each axis, then the
// complement of the highest.
struct Box {
  unsigned long long bounds[6];
  int inside;

  __device__ static unsigned long long ascending(int64_t cell) {
    return static_cast<unsigned long long>(cell) ^ 1ull << 63;
  }
  __device__ int64_t low(int axis) const { return static_cast<int64_t>(bounds[axis] ^ 1ull << 63); }
  __device__ int64_t high(int axis) const { return static_cast<int64_t>(~bounds[3 + axis] ^ 1ull << 63); }
};

template <typename Coord>
__global__ void __launch_bounds__(kThreads)
    find_cells(const Coord* coord, int num_points, GridSize grid_size, int64_t* cells, Box* box) {
  __shared__ unsigned long long parts[kThreads];
  unsigned long long own[6];
  for (auto& bound : own) bound = ~0ull;
  const int thread = threadIdx.x;
  for (int64_t i = thread_index(); i < num_points; i += static_cast<int64_t>(gridDim.x) * kThreads) {
    for (int axis = 0; axis < 3; ++axis) {
      int64_t cell = 0;
      if (!cell_of(static_cast<double>(coord[3 * i + axis]), grid_size.edges[axis], &cell)) atomicAnd(&box->inside, 0);
      cells[3 * i + axis] = cell;
      own[axis] = min(own[axis], Box::ascending(cell));
      own[3 + axis] = min(own[3 + axis], ~Box::ascending(cell));
    }
  }
  for (int bound = 0; bound < 6; ++bound) {
    parts[thread] = own[bound];
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (thread < half) parts[thread] = min(parts[thread], parts[thread + half]);
      __syncthreads();
    }
    if (thread == 0) atomicMin(&box->bounds[bound], parts[0]);
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads)
    find_keys(int num_points, Hash hash, const Box* box, GridOutputs out, uint64_t* keys, uint32_t* points) {
  const int64_t i = thread_index();
  if (i < 3) out.lowest[i] = box->low(static_cast<int>(i));
  if (i >= num_points) return;
  uint64_t cell[3];
  for (int axis = 0; axis < 3; ++axis) {
    out.grid_coord[3 * i + axis] -= box->low(axis);
    cell[axis] = static_cast<uint64_t>(out.grid_coord[3 * i + axis]);
  }
  const auto height = static_cast<uint64_t>(box->high(1) - box->low(1) + 1);
  const auto depth = static_cast<uint64_t>(box->high(2) - box->low(2) + 1);
  keys[i] = key_of(hash, cell[0], cell[1], cell[2], height, depth);
  points[i] = static_cast<uint32_t>(i);
}

__global__ void __launch_bounds__(kThreads) mark_starts(const uint64_t* keys, int num_points, int* starts) {
  const int64_t i = thread_index();
  if (i < num_points) starts[i] = i == 0 || keys[i] != keys[i - 1];
}

// numbers[i]: voxels that begin at or before place i.
__global__ void __launch_bounds__(kThreads) write_voxels(const uint32_t* points, const int* numbers, int num_points,
                                                         const Box* box, GridOutputs out, GridResult* told) {
  const int64_t i = thread_index();
  if (i >= num_points) return;
  const int number = numbers[i];
  out.order[i] = points[i];
  out.inverse[points[i]] = number - 1;
  if (i == 0 || numbers[i - 1] != number) out.offsets[number - 1] = i;
  if (i == num_points - 1) {
    out.offsets[number] = num_points;
    *told = {number, box->inside};
  }
}

// The parts of scratch memory.
struct Parts {
  Box* box;
  Pairs pairs;
  int* numbers;
  void* library;  // of the sort, then of the sum
  size_t sort_bytes, sum_bytes;
};

Parts split(Scratch& scratch, int num_points) {
  Parts parts{};
  parts.box = scratch.take<Box>(1);
  parts.pairs = take_pairs(scratch, num_points);
  parts.numbers = scratch.take<int>(num_points);
  parts.sort_bytes = radix_sort_scratch(num_points, kKeyBits);
  parts.sum_bytes = running_sum_scratch(num_points);
  parts.library = scratch.take<char>(static_cast<int64_t>(std::max(parts.sort_bytes, parts.sum_bytes)));
  return parts;
}

}  // namespace

int64_t grid_sample_scratch(int num_points) {
  Scratch counted;
  split(counted, num_points);
  return counted.used();
}

template <typename Coord>
cudaError_t grid_sample(const Coord* coord, int num_points, GridSize grid_size, Hash hash, const GridOutputs& out,
                        GridResult* told, void* memory, cudaStream_t stream) {
  Scratch scratch(memory);
  const Parts parts = split(scratch, num_points);
  const dim3 blocks(blocks_for(num_points)), box_blocks(std::min(blocks.x, kBoxBlocks));
  cudaError_t error = cudaMemsetAsync(parts.box, 0xff, sizeof(Box), stream);
  if (error != cudaSuccess) return error;
  error = launch(find_cells<Coord>, box_blocks, kThreads, 0, stream, coord, num_points, grid_size, out.grid_coord,
                 parts.box);
  if (error != cudaSuccess) return error;
  error = launch(find_keys, blocks, kThreads, 0, stream, num_points, hash, parts.box, out, parts.pairs.keys[0],
                 parts.pairs.values[0]);
  if (error != cudaSuccess) return error;
  SortedPairs sorted{};
  error = radix_sort(parts.pairs, num_points, kKeyBits, parts.library, parts.sort_bytes, stream, &sorted);
  if (error != cudaSuccess) return error;
  error = launch(mark_starts, blocks, kThreads, 0, stream, sorted.keys, num_points, parts.numbers);
  if (error != cudaSuccess) return error;
  error = running_sum(parts.numbers, num_points, parts.library, parts.sum_bytes, stream);
  if (error != cudaSuccess) return error;
  return launch(write_voxels, blocks, kThreads, 0, stream, sorted.values, parts.numbers, num_points, parts.box, out,
                told);
}

template cudaError_t grid_sample(const float*, int, GridSize, Hash, const GridOutputs&, GridResult*, void*,
                                 cudaStream_t);
template cudaError_t grid_sample(const double*, int, GridSize, Hash, const GridOutputs&, GridResult*, void*,
                                 cudaStream_t);

}  // namespace sparseops::gpu
