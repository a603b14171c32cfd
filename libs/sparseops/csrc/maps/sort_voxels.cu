// Voxels in ascending order.
#include "common/launch.cuh"
#include "common/radix_sort.h"
#include "common/threads.cuh"
#include "maps/voxel_table.cuh"

namespace sparseops::gpu {

using namespace common;

namespace {

constexpr int kBatchBits = 9;
static_assert(kBatchLimit == int64_t{1} << kBatchBits);
constexpr int kKeyBits = 3 * kCoordBits + kBatchBits;

__global__ void key_voxels(const int64_t* coords, int num_voxels, uint64_t* keys, uint32_t* rows) {
  const int64_t row = thread_index();
  if (row >= num_voxels) return;
  keys[row] = voxel_at(coords, row).key();
  rows[row] = static_cast<uint32_t>(row);
}

__global__ void place_voxels(const int64_t* coords, int num_voxels, const uint32_t* rows, int64_t* order,
                             int64_t* sorted) {
  const int64_t place = thread_index();
  if (place >= num_voxels) return;
  const int64_t row = rows[place];
  const Voxel voxel = voxel_at(coords, row);
  order[place] = row;
  longlong2* at = reinterpret_cast<longlong2*>(sorted) + place * 2;
  at[0] = make_longlong2(voxel.batch, voxel.x);
  at[1] = make_longlong2(voxel.y, voxel.z);
}

// The parts of scratch memory.
struct Parts {
  Pairs pairs;
  size_t library_bytes;
  void* library;  // of the sort
};

Parts split(Scratch& scratch, int num_voxels) {
  Parts parts{};
  parts.pairs = take_pairs(scratch, num_voxels);
  parts.library_bytes = radix_sort_scratch(num_voxels, kKeyBits);
  parts.library = scratch.take<char>(static_cast<int64_t>(parts.library_bytes));
  return parts;
}

}  // namespace

int64_t sort_voxels_scratch(int num_voxels) {
  Scratch counted;
  split(counted, num_voxels);
  return counted.used();
}

cudaError_t sort_voxels(const int64_t* coords, int num_voxels, int64_t* order, int64_t* sorted, void* memory,
                        cudaStream_t stream) {
  if (num_voxels == 0) return cudaSuccess;
  Scratch scratch(memory);
  const Parts parts = split(scratch, num_voxels);
  const dim3 blocks(blocks_for(num_voxels));
  cudaError_t error =
      launch(key_voxels, blocks, kThreads, 0, stream, coords, num_voxels, parts.pairs.keys[0], parts.pairs.values[0]);
  if (error != cudaSuccess) return error;
  SortedPairs found{};
  error = radix_sort(parts.pairs, num_voxels, kKeyBits, parts.library, parts.library_bytes, stream, &found);
  if (error != cudaSuccess) return error;
  return launch(place_voxels, blocks, kThreads, 0, stream, coords, num_voxels, found.values, order, sorted);
}

}  // namespace sparseops::gpu
