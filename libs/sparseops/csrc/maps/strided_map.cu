// Coarser voxels and their children: kernel 2, stride 2.
//
// A coarse voxel is counted at the first of its children, its representative. Representatives with the same parity of
// x and y ascend with their coarse voxels, so they make four sorted lists, and the place of a coarse voxel among all
// is the sum of its places in the lists.
#include "common/launch.cuh"
#include "common/scratch.h"
#include "common/threads.cuh"
#include "maps/maps_cuda.h"
#include "maps/voxel_table.cuh"

namespace sparseops::gpu {

using namespace common;

namespace {

constexpr int kScanThreads = 1024;
constexpr unsigned kWarp = 0xffffffffu;

struct Parent {
  Key key;
  unsigned first;  // row of the representative
  int id;          // row of the coarse voxel
};

constexpr int kLists = 4;

__device__ Key parent_key(Voxel v) { return Voxel{v.batch, v.x >> 1, v.y >> 1, v.z >> 1}.key(); }
__device__ int list_of(Voxel v) { return static_cast<int>((v.x & 1) * 2 + (v.y & 1)); }

// The parts of scratch memory.
struct Parts {
  Parent* parents;        // (capacity)
  StridedResult* result;  // before it is told
  uint32_t* slots;        // (num_voxels), of each voxel's parent
  Key* list_keys;         // (num_voxels), the four lists, one after the other
  uint32_t* list_slots;   // (num_voxels)
  int* counts;            // (kLists, blocks) representatives, then where they begin; (1) their number
};

__global__ void insert_parents(const int64_t* coords, int num_voxels, Parts parts, uint32_t mask) {
  const int64_t row = thread_index();
  if (row >= num_voxels) return;
  const Voxel voxel = voxel_at(coords, row);
  if (!within_limits(voxel)) atomicAnd(&parts.result->inside, 0);
  if (row > 0 && voxel_at(coords, row - 1).key() >= voxel.key()) atomicAnd(&parts.result->ascending, 0);
  const uint32_t slot = insert(parts.parents, mask, parent_key(voxel));
  parts.slots[row] = slot;
  atomicMin(&parts.parents[slot].first, static_cast<unsigned>(row));
}

// The list that a row is in as a representative, or -1.
__device__ int representative_list(const int64_t* coords, int num_voxels, const Parts& parts, int64_t row) {
  if (row >= num_voxels || parts.parents[parts.slots[row]].first != static_cast<unsigned>(row)) return -1;
  return list_of(voxel_at(coords, row));
}

__global__ void count_representatives(const int64_t* coords, int num_voxels, Parts parts) {
  const int own = representative_list(coords, num_voxels, parts, thread_index());
  for (int list = 0; list < kLists; ++list) {
    const int count = __syncthreads_count(own == list);
    if (threadIdx.x == 0) parts.counts[list * gridDim.x + blockIdx.x] = count;
  }
}

// One block: counts (length) become their sums before each, the sum of all goes to counts[length], and the result is
// told.
__global__ void sum_before(Parts parts, int length, StridedResult* told) {
  int* counts = parts.counts;
  __shared__ int warp_sums[kScanThreads / 32];
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  int before = 0;
  for (int base = 0; base < length; base += kScanThreads) {
    const int own = base + thread < length ? counts[base + thread] : 0;
    int sum = own;
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(kWarp, sum, step);
      if (lane >= step) sum += other;
    }
    if (lane == 31) warp_sums[warp] = sum;
    __syncthreads();
    int all = 0;
    for (int i = 0; i < kScanThreads / 32; ++i) {
      if (i == warp) sum += all;
      all += warp_sums[i];
    }
    if (base + thread < length) counts[base + thread] = before + sum - own;
    before += all;
    __syncthreads();
  }
  if (thread == 0) {
    counts[length] = before;
    if (told != nullptr) *told = {before, parts.result->ascending, parts.result->inside};
  }
}

__global__ void list_representatives(const int64_t* coords, int num_voxels, Parts parts) {
  __shared__ int warp_counts[kLists][kScanThreads / 32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t row = thread_index();
  const int own = representative_list(coords, num_voxels, parts, row);
  int place = 0;
  for (int list = 0; list < kLists; ++list) {
    const unsigned votes = __ballot_sync(kWarp, own == list);
    if (lane == 0) warp_counts[list][warp] = __popc(votes);
    if (own == list) place = __popc(votes & ((1u << lane) - 1));
  }
  __syncthreads();
  if (own < 0) return;
  for (int i = 0; i < warp; ++i) place += warp_counts[own][i];
  place += parts.counts[own * gridDim.x + blockIdx.x];
  const uint32_t slot = parts.slots[row];
  parts.list_keys[place] = parts.parents[slot].key;
  parts.list_slots[place] = slot;
}

// `blocks` is the grid of count_representatives, `most` how many coarse voxels there is room for. None has a child yet.
__global__ void number_parents(Parts parts, int blocks, int most, int64_t* coarse, int* children) {
  const int64_t place = thread_index();
  const int* counts = parts.counts;
  const int num_coarse = min(counts[kLists * blocks], most);
  if (place >= num_coarse) return;
  const Key key = parts.list_keys[place];
  int id = 0;
  for (int list = 0; list < kLists; ++list) {
    const int begin = counts[list * blocks];
    int low = begin, high = counts[(list + 1) * blocks];
    while (low < high) {
      const int middle = low + (high - low) / 2;
      if (parts.list_keys[middle] < key) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    id += low - begin;
  }
  id = min(id, num_coarse - 1);  // within bounds even where the rows do not ascend
  parts.parents[parts.list_slots[place]].id = id;
  const Key low_bits = kCoordLimit - 1;
  int64_t* voxel = coarse + static_cast<int64_t>(id) * 4;
  voxel[0] = static_cast<int64_t>(key >> 3 * kCoordBits);
  voxel[1] = static_cast<int64_t>(key >> 2 * kCoordBits & low_bits);
  voxel[2] = static_cast<int64_t>(key >> kCoordBits & low_bits);
  voxel[3] = static_cast<int64_t>(key & low_bits);
  for (int offset = 0; offset < 8; ++offset) children[static_cast<int64_t>(offset) * num_coarse + id] = -1;
}

__global__ void connect(const int64_t* coords, int num_voxels, Parts parts, int blocks, int most, int* children,
                        int* parents) {
  const int64_t row = thread_index();
  if (row >= num_voxels) return;
  const Voxel voxel = voxel_at(coords, row);
  const int own = list_of(voxel) * 2 + static_cast<int>(voxel.z & 1);
  const int num_coarse = min(parts.counts[kLists * blocks], most);
  const int id = max(0, min(parts.parents[parts.slots[row]].id, num_coarse - 1));  // -1 where there was no room
  children[static_cast<int64_t>(own) * num_coarse + id] = static_cast<int>(row);
  for (int offset = 0; offset < 8; ++offset) {
    parents[static_cast<int64_t>(offset) * num_voxels + row] = offset == own ? id : -1;
  }
}

Parts split(Scratch& scratch, int num_voxels) {
  Parts parts{};
  parts.parents = scratch.take<Parent>(capacity_for(num_voxels));
  parts.result = scratch.take<StridedResult>(1);
  parts.slots = scratch.take<uint32_t>(num_voxels);
  parts.list_keys = scratch.take<Key>(num_voxels);
  parts.list_slots = scratch.take<uint32_t>(num_voxels);
  parts.counts = scratch.take<int>(kLists * static_cast<int64_t>(blocks_for(num_voxels, kScanThreads)) + 1);
  return parts;
}

}  // namespace

int64_t strided_map_scratch(int num_voxels) {
  Scratch counted;
  split(counted, num_voxels);
  return counted.used();
}

cudaError_t strided_map_size(const int64_t* coords, int num_voxels, StridedResult* told, void* memory,
                             cudaStream_t stream) {
  Scratch scratch(memory);
  const Parts parts = split(scratch, num_voxels);
  const uint32_t capacity = capacity_for(num_voxels);
  const unsigned scan_blocks = blocks_for(num_voxels, kScanThreads);
  // all bits set: the table is free, and nothing speaks against the rows
  const auto cleared = reinterpret_cast<char*>(parts.result + 1) - reinterpret_cast<char*>(parts.parents);
  cudaError_t error = cudaMemsetAsync(parts.parents, 0xff, cleared, stream);
  if (error != cudaSuccess) return error;
  error = launch(insert_parents, dim3(blocks_for(num_voxels)), kThreads, 0, stream, coords, num_voxels, parts,
                 capacity - 1);
  if (error != cudaSuccess) return error;
  error = launch(count_representatives, dim3(scan_blocks), kScanThreads, 0, stream, coords, num_voxels, parts);
  if (error != cudaSuccess) return error;
  return launch(sum_before, dim3(1), kScanThreads, 0, stream, parts, kLists * static_cast<int>(scan_blocks), told);
}

cudaError_t strided_map(const int64_t* coords, int num_voxels, int most, int64_t* coarse, int* children, int* parents,
                        void* memory, cudaStream_t stream) {
  Scratch scratch(memory);
  const Parts parts = split(scratch, num_voxels);
  const unsigned blocks = blocks_for(num_voxels), scan_blocks = blocks_for(num_voxels, kScanThreads);
  const int grid = static_cast<int>(scan_blocks);
  cudaError_t error =
      launch(list_representatives, dim3(scan_blocks), kScanThreads, 0, stream, coords, num_voxels, parts);
  if (error != cudaSuccess) return error;
  error = launch(number_parents, dim3(blocks), kThreads, 0, stream, parts, grid, most, coarse, children);
  if (error != cudaSuccess) return error;
  return launch(connect, dim3(blocks), kThreads, 0, stream, coords, num_voxels, parts, grid, most, children, parents);
}

}  // namespace sparseops::gpu
