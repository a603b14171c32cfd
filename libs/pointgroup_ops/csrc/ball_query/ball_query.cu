#include "ball_query/ball_query_cuda.h"
#include "ball_query/grid.h"
#include "common/launch.cuh"

namespace pointgroup_ops {

using namespace common;

namespace {

constexpr int kWarp = 32;
constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kSortSize = 1024;  // the power of two that kMaxNeighbours fit into
static_assert(kMaxNeighbours <= kSortSize, "neighbours of a point must fit into what is sorted");

__device__ int64_t global_thread() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }

// First of the sorted keys that is not below ``key``.
__device__ int64_t lower_bound(const int64_t* keys, int64_t num_keys, int64_t key) {
  int64_t begin = 0, end = num_keys;
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (keys[middle] < key) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

// Calls visit(hit, j, count) on all lanes for every 32 candidates of sorted point i, until ``limit`` hits were seen;
// ``hit``: whether this lane's candidate, sorted point j, is near; ``count``: hits before these 32. Returns the hits.
template <typename Visit>
__device__ int visit_candidates(const SortedPoints& sorted, int64_t i, int lane, float squared_radius, int bits,
                                int limit, Visit visit) {
  Grid grid;
  grid.bits = bits;
  const float x = sorted.coords[3 * i], y = sorted.coords[3 * i + 1], z = sorted.coords[3 * i + 2];
  // lane r finds the begin of row r, lane r + kRows its end
  int64_t bound = 0;
  if (lane < 2 * kRows) {
    const int64_t first = grid.row(sorted.keys[i], lane % kRows);
    bound = lower_bound(sorted.keys, sorted.num_points, lane < kRows ? first : first + 3);
  }
  int count = 0;
  for (int row = 0; row < kRows; ++row) {
    const int64_t begin = __shfl_sync(kAllLanes, bound, row);
    const int64_t end = __shfl_sync(kAllLanes, bound, row + kRows);
    for (int64_t block = begin; block < end && count < limit; block += kWarp) {
      const int64_t j = block + lane;
      const float* other = sorted.coords + 3 * j;
      const bool hit = j < end && is_near(x, y, z, other[0], other[1], other[2], squared_radius);
      count += visit(hit, j, count);
    }
  }
  return count;
}

// Hits among the lanes, and in ``rank`` those of lower lanes.
__device__ int count_hits(bool hit, int lane, int* rank) {
  const unsigned hits = __ballot_sync(kAllLanes, hit);
  *rank = __popc(hits & ((1u << lane) - 1));
  return __popc(hits);
}

// Sorts values[0 … length) ascending, by one warp; values has room for the next power of two.
__device__ void sort_by_warp(int32_t* values, int length, int lane) {
  int size = 1;
  while (size < length) size *= 2;
  for (int i = length + lane; i < size; i += kWarp) values[i] = INT32_MAX;
  __syncwarp();
  for (int run = 2; run <= size; run *= 2) {
    for (int stride = run / 2; stride > 0; stride /= 2) {
      for (int pair = lane; pair < size / 2; pair += kWarp) {
        const int low = 2 * pair - (pair & (stride - 1)), high = low + stride;
        const int32_t first = values[low], second = values[high];
        if ((first > second) == ((low & run) == 0)) {
          values[low] = second;
          values[high] = first;
        }
      }
      __syncwarp();
    }
  }
}

__global__ void keys_kernel(DevicePoints points, const float* low, const float* high, float radius, int bits,
                            int64_t* keys, int32_t* wrong) {
  const int64_t i = global_thread();
  const int32_t* offsets = points.batch_offsets;
  if (i <= points.num_clouds) {
    const bool rising = i == points.num_clouds ? offsets[i] == points.num_points : offsets[i] <= offsets[i + 1];
    if (!rising || (i == 0 && offsets[i] != 0)) atomicOr(wrong, 1);
  }
  if (i >= points.num_points) return;
  const int64_t cloud = points.batch_idxs[i];
  if (cloud < 0 || cloud >= points.num_clouds || i < offsets[cloud] || i >= offsets[cloud + 1]) {
    atomicOr(wrong, 1);
    keys[i] = kNoCell;
    return;
  }
  keys[i] = make_grid(low, high, radius, bits).key(cloud, points.coords + 3 * i);
}

__global__ void count_kernel(SortedPoints sorted, float squared_radius, int bits, int32_t* lengths) {
  const int64_t i = global_thread() / kWarp;
  const int lane = threadIdx.x % kWarp;
  if (i >= sorted.num_points) return;
  int count = 0;
  if (sorted.keys[i] != kNoCell) {
    const auto visit = [&](bool hit, int64_t, int) {
      int rank;
      return count_hits(hit, lane, &rank);
    };
    count = visit_candidates(sorted, i, lane, squared_radius, bits, kMaxNeighbours, visit);
  }
  if (lane == 0) lengths[sorted.order[i]] = count < kMaxNeighbours ? count : kMaxNeighbours;
}

__global__ void fill_kernel(DevicePoints points, SortedPoints sorted, float squared_radius, int bits,
                            const int64_t* starts, const int32_t* lengths, int32_t* idxs) {
  __shared__ int32_t shared[kWarps][kSortSize];
  const int64_t i = global_thread() / kWarp;
  const int lane = threadIdx.x % kWarp;
  if (i >= sorted.num_points) return;
  const int64_t point = sorted.order[i];
  const int length = lengths[point];
  if (length == 0) return;
  int32_t* out = idxs + starts[point];

  if (length < kMaxNeighbours) {
    int32_t* found = shared[threadIdx.x / kWarp];
    visit_candidates(sorted, i, lane, squared_radius, bits, kMaxNeighbours, [&](bool hit, int64_t j, int count) {
      int rank;
      const int hits = count_hits(hit, lane, &rank);
      if (hit) found[count + rank] = sorted.order[j];
      return hits;
    });
    sort_by_warp(found, length, lane);
    for (int k = lane; k < length; k += kWarp) out[k] = found[k];
    return;
  }

  // so many that the first of them are soon found by going through the cloud in order
  const int32_t cloud = points.batch_idxs[point];
  const int64_t end = points.batch_offsets[cloud + 1];
  const float* own = points.coords + 3 * point;
  const float x = own[0], y = own[1], z = own[2];
  int count = 0;
  for (int64_t block = points.batch_offsets[cloud]; block < end && count < length; block += kWarp) {
    const int64_t j = block + lane;
    const float* other = points.coords + 3 * j;
    const bool hit = j < end && is_near(x, y, z, other[0], other[1], other[2], squared_radius);
    int rank;
    const int hits = count_hits(hit, lane, &rank);
    if (hit && count + rank < length) out[count + rank] = static_cast<int32_t>(j);
    count += hits;
  }
}

unsigned blocks_for(int64_t num_threads) { return static_cast<unsigned>((num_threads + kThreads - 1) / kThreads); }

}  // namespace

cudaError_t compute_keys(const DevicePoints& points, const float* low, const float* high, float radius, int bits,
                         int64_t* keys, int32_t* wrong, cudaStream_t stream) {
  const int64_t clouds = points.num_clouds + 1;
  const int64_t num_threads = points.num_points > clouds ? points.num_points : clouds;
  return launch(keys_kernel, blocks_for(num_threads), kThreads, 0, stream, points, low, high, radius, bits, keys,
                wrong);
}

cudaError_t count_neighbours(const SortedPoints& sorted, float radius, int bits, int32_t* lengths,
                             cudaStream_t stream) {
  const unsigned blocks = blocks_for(sorted.num_points * kWarp);
  return launch(count_kernel, blocks, kThreads, 0, stream, sorted, radius * radius, bits, lengths);
}

cudaError_t fill_neighbours(const DevicePoints& points, const SortedPoints& sorted, float radius, int bits,
                            const int64_t* starts, const int32_t* lengths, int32_t* idxs, cudaStream_t stream) {
  const unsigned blocks = blocks_for(sorted.num_points * kWarp);
  return launch(fill_kernel, blocks, kThreads, 0, stream, points, sorted, radius * radius, bits, starts, lengths, idxs);
}

}  // namespace pointgroup_ops
