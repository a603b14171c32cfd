// Kernel maps from hash tables of packed coordinates.
#include <algorithm>
#include <numeric>

#include "launch.cuh"
#include "maps_cuda.h"

namespace sparseops::gpu {
namespace {

constexpr int kCoordBits = 18;  // as in reference.py
static_assert(kCoordLimit == int64_t{1} << kCoordBits);
constexpr unsigned long long kFree = ~0ull;
constexpr int kThreads = 256;
constexpr int kScanThreads = 1024;
constexpr unsigned kWarp = 0xffffffffu;

using Key = unsigned long long;

struct Voxel {
  int64_t batch, x, y, z;
  __device__ Key key() const {
    return static_cast<Key>(((batch << kCoordBits | x) << kCoordBits | y) << kCoordBits | z);
  }
};

__device__ Voxel voxel_at(const int64_t* coords, int64_t row) {
  const longlong2* at = reinterpret_cast<const longlong2*>(coords) + row * 2;
  const longlong2 low = __ldg(at), high = __ldg(at + 1);
  return {low.x, low.y, high.x, high.y};
}

__device__ bool within_limits(Voxel v) {
  return v.batch >= 0 && v.batch < kBatchLimit && v.x >= 0 && v.x < kCoordLimit && v.y >= 0 && v.y < kCoordLimit &&
         v.z >= 0 && v.z < kCoordLimit;
}

// The finalizer of MurmurHash3.
__device__ __forceinline__ uint32_t hash(Key key) {
  key = (key ^ key >> 33) * 0xff51afd7ed558ccdull;
  key = (key ^ key >> 33) * 0xc4ceb9fe1a85ec53ull;
  return static_cast<uint32_t>(key ^ key >> 33);
}

// A power of two, at least twice the entries: a search always ends at a free slot, and soon.
uint32_t capacity_for(int num_entries) {
  uint32_t capacity = 64;
  while (capacity < 2u * static_cast<uint32_t>(num_entries)) capacity *= 2;
  return capacity;
}

unsigned blocks_for(int64_t threads, int per_block) {
  return static_cast<unsigned>((threads + per_block - 1) / per_block);
}

__device__ int64_t thread_index() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

// The slot that holds `key`, taken if none did.
template <typename Slot>
__device__ uint32_t insert(Slot* slots, uint32_t mask, Key key) {
  for (uint32_t slot = hash(key) & mask;; slot = (slot + 1) & mask) {
    const Key before = atomicCAS(&slots[slot].key, kFree, key);
    if (before == kFree || before == key) return slot;
  }
}

// ---- submanifold maps

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

// ---- strided maps: kernel 2, stride 2
//
// A coarse voxel is counted at the first of its children, its representative. Representatives with the same parity of
// x and y ascend with their coarse voxels, so they make four sorted lists, and the place of a coarse voxel among all
// is the sum of its places in the lists.

struct Parent {
  Key key;
  unsigned first;  // row of the representative
  int id;          // row of the coarse voxel
};

constexpr int kLists = 4;

__device__ Key parent_key(Voxel v) { return Voxel{v.batch, v.x >> 1, v.y >> 1, v.z >> 1}.key(); }
__device__ int list_of(Voxel v) { return static_cast<int>((v.x & 1) * 2 + (v.y & 1)); }

// Where the parts lie in scratch memory.
struct Scratch {
  Parent* parents;     // (capacity)
  uint32_t* slots;     // (num_voxels), of each voxel's parent
  Key* list_keys;      // (num_voxels), the four lists, one after the other
  uint32_t* list_slots;  // (num_voxels)
  int* counts;         // (kLists, blocks) representatives, then where they begin; (1) their number
};

__global__ void insert_parents(const int64_t* coords, int num_voxels, Scratch scratch, uint32_t mask,
                               StridedResult* result) {
  const int64_t row = thread_index();
  if (row >= num_voxels) return;
  const Voxel voxel = voxel_at(coords, row);
  if (!within_limits(voxel)) atomicOr(&result->outside, 1);
  if (row > 0 && voxel_at(coords, row - 1).key() >= voxel.key()) atomicOr(&result->disordered, 1);
  const uint32_t slot = insert(scratch.parents, mask, parent_key(voxel));
  scratch.slots[row] = slot;
  atomicMin(&scratch.parents[slot].first, static_cast<unsigned>(row));
}

// The list that a row is in as a representative, or -1.
__device__ int representative_list(const int64_t* coords, int num_voxels, const Scratch& scratch, int64_t row) {
  if (row >= num_voxels || scratch.parents[scratch.slots[row]].first != static_cast<unsigned>(row)) return -1;
  return list_of(voxel_at(coords, row));
}

__global__ void count_representatives(const int64_t* coords, int num_voxels, Scratch scratch) {
  const int own = representative_list(coords, num_voxels, scratch, thread_index());
  for (int list = 0; list < kLists; ++list) {
    const int count = __syncthreads_count(own == list);
    if (threadIdx.x == 0) scratch.counts[list * gridDim.x + blockIdx.x] = count;
  }
}

// One block: counts (length) become their sums before each, the sum of all goes to counts[length].
__global__ void sum_before(int* counts, int length, StridedResult* result) {
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
    result->num_coarse = before;
  }
}

__global__ void list_representatives(const int64_t* coords, int num_voxels, Scratch scratch) {
  __shared__ int warp_counts[kLists][kScanThreads / 32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t row = thread_index();
  const int own = representative_list(coords, num_voxels, scratch, row);
  int place = 0;
  for (int list = 0; list < kLists; ++list) {
    const unsigned votes = __ballot_sync(kWarp, own == list);
    if (lane == 0) warp_counts[list][warp] = __popc(votes);
    if (own == list) place = __popc(votes & ((1u << lane) - 1));
  }
  __syncthreads();
  if (own < 0) return;
  for (int i = 0; i < warp; ++i) place += warp_counts[own][i];
  place += scratch.counts[own * gridDim.x + blockIdx.x];
  const uint32_t slot = scratch.slots[row];
  scratch.list_keys[place] = scratch.parents[slot].key;
  scratch.list_slots[place] = slot;
}

// `blocks` is the grid of count_representatives.
__global__ void number_parents(Scratch scratch, int blocks, int64_t* coarse) {
  const int64_t place = thread_index();
  const int* counts = scratch.counts;
  if (place >= counts[kLists * blocks]) return;
  const Key key = scratch.list_keys[place];
  int id = 0;
  for (int list = 0; list < kLists; ++list) {
    const int begin = counts[list * blocks];
    int low = begin, high = counts[(list + 1) * blocks];
    while (low < high) {
      const int middle = low + (high - low) / 2;
      if (scratch.list_keys[middle] < key) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    id += low - begin;
  }
  id = min(id, counts[kLists * blocks] - 1);  // within bounds even where the rows do not ascend
  scratch.parents[scratch.list_slots[place]].id = id;
  const Key low_bits = kCoordLimit - 1;
  int64_t* voxel = coarse + static_cast<int64_t>(id) * 4;
  voxel[0] = static_cast<int64_t>(key >> 3 * kCoordBits);
  voxel[1] = static_cast<int64_t>(key >> 2 * kCoordBits & low_bits);
  voxel[2] = static_cast<int64_t>(key >> kCoordBits & low_bits);
  voxel[3] = static_cast<int64_t>(key & low_bits);
}

// children is -1 throughout before.
__global__ void connect(const int64_t* coords, int num_voxels, Scratch scratch, const StridedResult* result,
                        int* children, int* parents) {
  const int64_t row = thread_index();
  if (row >= num_voxels) return;
  const Voxel voxel = voxel_at(coords, row);
  const int own = list_of(voxel) * 2 + static_cast<int>(voxel.z & 1);
  const int id = scratch.parents[scratch.slots[row]].id;
  children[static_cast<int64_t>(own) * result->num_coarse + id] = static_cast<int>(row);
  for (int offset = 0; offset < 8; ++offset) {
    parents[static_cast<int64_t>(offset) * num_voxels + row] = offset == own ? id : -1;
  }
}

constexpr int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

// Splits scratch memory; returns the bytes it takes.
int64_t split(char* memory, int num_voxels, Scratch* scratch) {
  int64_t used = 0;
  auto part = [&](int64_t bytes) {
    char* at = memory + used;
    used += aligned(bytes);
    return at;
  };
  const int64_t voxels = num_voxels;
  scratch->parents = reinterpret_cast<Parent*>(part(sizeof(Parent) * static_cast<int64_t>(capacity_for(num_voxels))));
  scratch->slots = reinterpret_cast<uint32_t*>(part(sizeof(uint32_t) * voxels));
  scratch->list_keys = reinterpret_cast<Key*>(part(sizeof(Key) * voxels));
  scratch->list_slots = reinterpret_cast<uint32_t*>(part(sizeof(uint32_t) * voxels));
  scratch->counts = reinterpret_cast<int*>(
      part(sizeof(int) * (kLists * static_cast<int64_t>(blocks_for(voxels, kScanThreads)) + 1)));
  return used;
}

// ---- grouping of output rows

// The offsets by how much they weigh in the order of rows, the heaviest first.
struct Ranking {
  int8_t offsets[kMaxGroupedOffsets];
};

// Of a kernel of size 3 the corners, then the edges, then the faces: on surfaces the rarer a neighbour is the more steps
// are left out where the rows that have it lie together.
Ranking ranking_for(int num_offsets) {
  Ranking ranking{};
  const auto end = ranking.offsets + num_offsets;
  std::iota(ranking.offsets, end, int8_t{0});
  const auto distance = [](int offset) { return (offset / 9 != 1) + (offset / 3 % 3 != 1) + (offset % 3 != 1); };
  if (num_offsets == 27) {
    std::stable_sort(ranking.offsets, end, [&](int8_t a, int8_t b) { return distance(a) > distance(b); });
  }
  return ranking;
}

// Masks in the order of a Gray code, backwards: rows that follow each other differ in few offsets, and those with the
// most neighbours come first, so that the last blocks to run are short.
__global__ void key_neighbours(const int* forwards, int num_offsets, int num_out, Ranking ranking, int* keys) {
  const int64_t row = thread_index();
  if (row >= num_out) return;
  uint32_t mask = 0;
  for (int rank = 0; rank < num_offsets; ++rank) {
    const int64_t offset = ranking.offsets[rank];
    mask = mask << 1 | static_cast<uint32_t>(__ldg(forwards + offset * num_out + row) >= 0);
  }
  for (int shift = 1; shift < 32; shift *= 2) mask ^= mask >> shift;
  keys[row] = static_cast<int>(~mask & ((1u << num_offsets) - 1));
}

__global__ void gather_columns(const int* forwards, int num_out, const int64_t* order, int* grouped, int* order32) {
  const int64_t column = thread_index();
  if (column >= num_out) return;
  const int64_t offset = static_cast<int64_t>(blockIdx.y) * num_out, row = __ldg(order + column);
  grouped[offset + column] = __ldg(forwards + offset + row);
  if (blockIdx.y == 0) order32[column] = static_cast<int>(row);
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
  const unsigned blocks = blocks_for(num_voxels, kThreads);
  error = launch(insert_voxels, dim3(blocks), kThreads, 0, stream, coords, num_voxels, quads, capacity - 1);
  if (error != cudaSuccess) return error;
  const unsigned columns = static_cast<unsigned>(kernel_size * kernel_size / 2 + 1);
  return launch(find_neighbours, dim3(blocks, columns), kThreads, 0, stream, coords, num_voxels,
                kernel_size / 2, quads, capacity - 1, forwards);
}

int64_t strided_map_scratch(int num_voxels) {
  Scratch unused;
  return split(nullptr, num_voxels, &unused);
}

cudaError_t strided_map(const int64_t* coords, int num_voxels, int64_t* coarse, int* children, int* parents,
                        StridedResult* result, void* memory, cudaStream_t stream) {
  if (num_voxels == 0) return cudaMemsetAsync(result, 0, sizeof(StridedResult), stream);
  Scratch scratch;
  split(static_cast<char*>(memory), num_voxels, &scratch);
  const uint32_t capacity = capacity_for(num_voxels);
  const unsigned blocks = blocks_for(num_voxels, kThreads), scan_blocks = blocks_for(num_voxels, kScanThreads);
  cudaError_t error = cudaMemsetAsync(scratch.parents, 0xff, capacity * sizeof(Parent), stream);
  if (error != cudaSuccess) return error;
  error = cudaMemsetAsync(children, 0xff, 8 * static_cast<size_t>(num_voxels) * sizeof(int), stream);
  if (error != cudaSuccess) return error;
  error = cudaMemsetAsync(result, 0, sizeof(StridedResult), stream);
  if (error != cudaSuccess) return error;
  error = launch(insert_parents, dim3(blocks), kThreads, 0, stream, coords, num_voxels, scratch, capacity - 1,
                 result);
  if (error != cudaSuccess) return error;
  error = launch(count_representatives, dim3(scan_blocks), kScanThreads, 0, stream, coords, num_voxels,
                 scratch);
  if (error != cudaSuccess) return error;
  error = launch(sum_before, dim3(1), kScanThreads, 0, stream, scratch.counts, kLists * static_cast<int>(scan_blocks),
                 result);
  if (error != cudaSuccess) return error;
  error = launch(list_representatives, dim3(scan_blocks), kScanThreads, 0, stream, coords, num_voxels, scratch);
  if (error != cudaSuccess) return error;
  error = launch(number_parents, dim3(blocks), kThreads, 0, stream, scratch, static_cast<int>(scan_blocks), coarse);
  if (error != cudaSuccess) return error;
  return launch(connect, dim3(blocks), kThreads, 0, stream, coords, num_voxels, scratch, result, children,
                parents);
}

cudaError_t neighbour_keys(const int* forwards, int num_offsets, int num_out, int* keys, cudaStream_t stream) {
  return launch(key_neighbours, dim3(blocks_for(num_out, kThreads)), kThreads, 0, stream, forwards, num_offsets,
                num_out, ranking_for(num_offsets), keys);
}

cudaError_t permute_columns(const int* forwards, int num_offsets, int num_out, const int64_t* order, int* grouped,
                            int* order32, cudaStream_t stream) {
  const dim3 blocks(blocks_for(num_out, kThreads), static_cast<unsigned>(num_offsets));
  return launch(gather_columns, blocks, kThreads, 0, stream, forwards, num_out, order, grouped, order32);
}

}  // namespace sparseops::gpu
