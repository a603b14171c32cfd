// Points to the voxels of a grid on a GPU: cells and the box around them, keys, a sort, and where voxels begin.
#include <algorithm>
#include <utility>

#include "grid_cuda.h"
#include "launch.cuh"
#include "radix_sort.h"
#include "scan.h"
#include "threads.cuh"

namespace sparseops::gpu {
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
__global__ void __launch_bounds__(kThreads)
    write_voxels(const uint32_t* points, const int* numbers, int num_points, const Box* box, GridOutputs out,
                 GridResult* told) {
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

int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

// Where the parts lie in scratch memory.
struct Scratch {
  Box* box;
  Pairs pairs;
  int* numbers;
  void* library;  // of the sort, then of the sum
  size_t sort_bytes, sum_bytes;
};

// Splits scratch memory; returns the bytes it takes.
int64_t split(char* memory, int num_points, Scratch* scratch) {
  int64_t used = 0;
  auto part = [&](int64_t bytes) { return memory + std::exchange(used, used + aligned(bytes)); };
  const int64_t points = num_points;
  scratch->box = reinterpret_cast<Box*>(part(sizeof(Box)));
  for (auto& keys : scratch->pairs.keys) keys = reinterpret_cast<uint64_t*>(part(points * 8));
  for (auto& values : scratch->pairs.values) values = reinterpret_cast<uint32_t*>(part(points * 4));
  scratch->numbers = reinterpret_cast<int*>(part(points * 4));
  scratch->sort_bytes = radix_sort_scratch(num_points, kKeyBits);
  scratch->sum_bytes = running_sum_scratch(num_points);
  scratch->library = part(static_cast<int64_t>(std::max(scratch->sort_bytes, scratch->sum_bytes)));
  return used;
}

}  // namespace

int64_t grid_sample_scratch(int num_points) {
  Scratch unused;
  return split(nullptr, num_points, &unused);
}

template <typename Coord>
cudaError_t grid_sample(const Coord* coord, int num_points, GridSize grid_size, Hash hash, const GridOutputs& out,
                        GridResult* told, void* memory, cudaStream_t stream) {
  Scratch scratch;
  split(static_cast<char*>(memory), num_points, &scratch);
  const dim3 blocks(blocks_for(num_points)), box_blocks(std::min(blocks.x, kBoxBlocks));
  cudaError_t error = cudaMemsetAsync(scratch.box, 0xff, sizeof(Box), stream);
  if (error != cudaSuccess) return error;
  error = launch(find_cells<Coord>, box_blocks, kThreads, 0, stream, coord, num_points, grid_size, out.grid_coord,
                 scratch.box);
  if (error != cudaSuccess) return error;
  error = launch(find_keys, blocks, kThreads, 0, stream, num_points, hash, scratch.box, out, scratch.pairs.keys[0],
                 scratch.pairs.values[0]);
  if (error != cudaSuccess) return error;
  SortedPairs sorted{};
  error = radix_sort(scratch.pairs, num_points, kKeyBits, scratch.library, scratch.sort_bytes, stream, &sorted);
  if (error != cudaSuccess) return error;
  error = launch(mark_starts, blocks, kThreads, 0, stream, sorted.keys, num_points, scratch.numbers);
  if (error != cudaSuccess) return error;
  error = running_sum(scratch.numbers, num_points, scratch.library, scratch.sum_bytes, stream);
  if (error != cudaSuccess) return error;
  return launch(write_voxels, blocks, kThreads, 0, stream, sorted.values, scratch.numbers, num_points, scratch.box,
                out, told);
}

template cudaError_t grid_sample(const float*, int, GridSize, Hash, const GridOutputs&, GridResult*, void*,
                                 cudaStream_t);
template cudaError_t grid_sample(const double*, int, GridSize, Hash, const GridOutputs&, GridResult*, void*,
                                 cudaStream_t);

}  // namespace sparseops::gpu
