// Nearest neighbours and ball queries. A warp takes the 32 queries of a leaf, which are near each other, down the boxes
// that can hold a neighbour of any of them, nearest box first; in a leaf each lane compares its query with all points.
#include <math_constants.h>

#include "candidates.h"
#include "device.cuh"

namespace pointops::gpu {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kStack = kFan * kMaxLevels;

struct Node {
  float distance2;
  int32_t level;  // 0: a leaf; its boxes are those of level - 1
  int64_t place;
};

struct Scratch {
  Node stack[kWarps][kStack];
  float4 points[kWarps][kLeaf];
};

// One lane's query.
struct Query {
  float4 point;
  Range range;  // the positions of its cloud in the tree
  int32_t index;
  bool active;

  __device__ Query(const float4& packed, const Clouds& clouds, const Clouds& query_clouds) : point(packed) {
    index = static_cast<int32_t>(float_bits(packed.w));
    if (index >= 0) range = rows_of(clouds, cloud_of(query_clouds, index));
    active = range.begin < range.end && is_finite(packed);
  }
};

__device__ int64_t positions_under(int level) {
  int64_t positions = kLeaf;
  for (; level > 0; --level) positions *= kFan;
  return positions;
}

// Calls visit(point, d2) for the points that can be within bound2() of this lane's query; all lanes of a warp together.
template <typename Bound2, typename Visit>
__device__ __forceinline__ void walk(const Tree& tree, const Query& query, Scratch& scratch, Bound2 bound2, Visit visit) {
  const int lane = threadIdx.x % kWarp;
  Node* stack = scratch.stack[threadIdx.x / kWarp];
  float4* points = scratch.points[threadIdx.x / kWarp];
  const float4& own = query.point;
  const float nowhere = CUDART_INF_F;
  const bool active = query.active;
  const float4 low = make_float4(warp_min(active ? own.x : nowhere), warp_min(active ? own.y : nowhere),
                                 warp_min(active ? own.z : nowhere), 0);
  const float4 high = make_float4(warp_max(active ? own.x : -nowhere), warp_max(active ? own.y : -nowhere),
                                  warp_max(active ? own.z : -nowhere), 0);
  // the positions of all their clouds
  const int32_t first = warp_min(active ? static_cast<int32_t>(query.range.begin) : INT32_MAX);
  const int32_t last = -warp_min(active ? -static_cast<int32_t>(query.range.end) : 0);
  if (first >= last) return;

  if (lane == 0) stack[0] = {0.0f, tree.levels.count, 0};
  __syncwarp();
  for (int height = 1; height > 0;) {
    const Node node = stack[--height];
    __syncwarp();
    const float bound = active ? bound2() : -1.0f;
    const float reach = warp_max(bound);
    if (node.distance2 > reach) continue;
    if (node.level > 0) {
      const int64_t place = node.place * kFan + lane;
      const int64_t begin = place * positions_under(node.level - 1), end = begin + positions_under(node.level - 1);
      bool wanted = lane < kFan && place < tree.levels.boxes[node.level - 1] && begin < last && end > first;
      const float distance2 =
          wanted ? box_distance2(low, high, tree.boxes[tree.levels.first[node.level - 1] + place]) : nowhere;
      wanted = wanted && distance2 <= reach;
      int slot = 0;  // the farthest first, so that the nearest is taken first
      for (int child = 0; child < kFan; ++child) {
        const float other = __shfl_sync(kAllLanes, wanted ? distance2 : -1.0f, child);
        slot += other > distance2 || (other == distance2 && child > lane);
      }
      if (wanted) stack[height + slot] = {distance2, node.level - 1, place};
      height += __popc(__ballot_sync(kAllLanes, wanted));
      __syncwarp();
      continue;
    }
    const int64_t position = node.place * kLeaf;
    const bool near = active && position < query.range.end && position + kLeaf > query.range.begin &&
                      box_distance2(own, own, tree.boxes[node.place]) <= bound;
    if (!__any_sync(kAllLanes, near)) continue;
    points[lane] = tree.points[position + lane];
    __syncwarp();
    if (near) {
      for (int i = 0; i < kLeaf; ++i) {
        const float4 point = points[i];
        if (position + i >= query.range.begin && position + i < query.range.end)
          visit(point, squared_length(own.x - point.x, own.y - point.y, own.z - point.z));
      }
    }
    __syncwarp();
  }
}

// The k smallest pairs, ascending at the end of kLength, in registers.
template <int kLength>
struct RegisterList {
  uint64_t pairs[kLength];

  __device__ explicit RegisterList(int k) {
#pragma unroll
    for (int i = 0; i < kLength; ++i) pairs[i] = i < kLength - k ? 0 : kNoNeighbour;
  }
  __device__ uint64_t last() const { return pairs[kLength - 1]; }
  __device__ void insert(uint64_t pair) {
#pragma unroll
    for (int i = kLength - 1; i > 0; --i) {
      const uint64_t later = pair > pairs[i - 1] ? pair : pairs[i - 1];
      pairs[i] = later < pairs[i] ? later : pairs[i];
    }
    pairs[0] = pair < pairs[0] ? pair : pairs[0];
  }
  __device__ void write(int k, int32_t* index, float* distance2) const {
#pragma unroll
    for (int i = 0; i < kLength; ++i) {
      if (i < kLength - k) continue;
      index[i - (kLength - k)] = static_cast<int32_t>(low(pairs[i]));
      distance2[i - (kLength - k)] = pairs[i] == kNoNeighbour ? kMissingDistance2 : bits_float(high(pairs[i]));
    }
  }
};

// The same in local memory, as long as is asked for.
struct LocalList {
  uint64_t pairs[kMaxNeighbours];
  int k;

  __device__ explicit LocalList(int length) : k(length) {
    for (int i = 0; i < k; ++i) pairs[i] = kNoNeighbour;
  }
  __device__ uint64_t last() const { return pairs[k - 1]; }
  __device__ void insert(uint64_t pair) {
    int slot = k - 1;
    for (; slot > 0 && pairs[slot - 1] > pair; --slot) pairs[slot] = pairs[slot - 1];
    pairs[slot] = pair;
  }
  __device__ void write(int, int32_t* index, float* distance2) const {
    for (int i = 0; i < k; ++i) {
      index[i] = static_cast<int32_t>(low(pairs[i]));
      distance2[i] = pairs[i] == kNoNeighbour ? kMissingDistance2 : bits_float(high(pairs[i]));
    }
  }
};

template <typename List>
__global__ void __launch_bounds__(kThreads) find_nearest(Tree tree, Clouds clouds, const float4* queries,
                                                        Clouds query_clouds, int k, int32_t* index, float* distance2) {
  __shared__ Scratch scratch;
  const int64_t place = global_thread();
  if (place / kWarp * kWarp >= query_clouds.rows) return;  // the whole warp
  const Query query(queries[place], clouds, query_clouds);
  List best(k);
  walk(
      tree, query, scratch, [&] { return bits_float(high(best.last())); },
      [&](const float4& point, float d2) {
        const uint64_t pair = uint64_t{float_bits(d2)} << 32 | float_bits(point.w);
        if (pair < best.last()) best.insert(pair);
      });
  if (query.index >= 0) best.write(k, index + int64_t{query.index} * k, distance2 + int64_t{query.index} * k);
}

__global__ void __launch_bounds__(kThreads) count(Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds,
                                                 Shell shell, int32_t* counts) {
  __shared__ Scratch scratch;
  const int64_t place = global_thread();
  if (place / kWarp * kWarp >= query_clouds.rows) return;
  const Query query(queries[place], clouds, query_clouds);
  int32_t found = 0;
  walk(
      tree, query, scratch, [&] { return shell.reach2(); }, [&](const float4&, float d2) { found += shell.holds(d2); });
  counts[place] = found;
}

struct Part {
  int64_t first, last;
  const int32_t* counts;
  const int64_t* ends;
  uint64_t* pairs;

  __device__ uint64_t* of(int64_t place) const {
    return pairs + (ends[place] - counts[place] - (first > 0 ? ends[first - 1] : 0));
  }
};

// Pairs (index, bits of d2), or (rank, index) where there are ranks.
__global__ void __launch_bounds__(kThreads) fill(Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds,
                                                Shell shell, const int32_t* rank, Part part) {
  __shared__ Scratch scratch;
  const int64_t place = part.first + global_thread();
  if (place / kWarp * kWarp >= part.last) return;
  const Query query(queries[place], clouds, query_clouds);
  uint64_t* next = part.of(place);
  walk(
      tree, query, scratch, [&] { return shell.reach2(); },
      [&](const float4& point, float d2) {
        if (!shell.holds(d2)) return;
        const uint32_t index = float_bits(point.w);
        *next++ = rank != nullptr ? static_cast<uint64_t>(rank[index]) << 32 | index
                                  : static_cast<uint64_t>(index) << 32 | float_bits(d2);
      });
}

constexpr int kDrawThreads = 64, kShared = 64;

__global__ void __launch_bounds__(kDrawThreads) draw(const float4* queries, const float* xyz, bool ranked, Part part,
                                                    int samples, int32_t* index, float* distance2) {
  __shared__ uint64_t shared[kShared * kDrawThreads];
  const int64_t place = part.first + global_thread();
  if (place >= part.last) return;
  const float4 query = queries[place];
  const int64_t row = static_cast<int32_t>(float_bits(query.w));
  if (row < 0) return;
  const int64_t found = part.counts[place];
  Strided pairs{part.of(place), 1};
  if (found <= kShared) {
    const Strided local{shared + threadIdx.x, kDrawThreads};
    for (int64_t i = 0; i < found; ++i) local[i] = pairs[i];
    pairs = local;
  }
  heap_sort(pairs, found);
  if (!ranked) drained_heap(pairs, found);
  for (int i = 0; i < samples; ++i) {
    const int64_t chosen = !ranked && found > samples ? even_choice(i, samples, found) : i;
    int32_t neighbour = -1;
    float d2 = kMissingDistance2;
    if (chosen < found) {
      neighbour = static_cast<int32_t>(ranked ? low(pairs[chosen]) : high(pairs[chosen]));
      const float* point = xyz + 3 * int64_t{neighbour};
      d2 = squared_length(query.x - point[0], query.y - point[1], query.z - point[2]);
    }
    index[row * samples + i] = neighbour;
    distance2[row * samples + i] = d2;
  }
}

}  // namespace

cudaError_t knn_query(Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds, int k, int32_t* index,
                      float* distance2, cudaStream_t stream) {
  const auto kernel = k <= 8    ? find_nearest<RegisterList<8>>
                      : k <= 16 ? find_nearest<RegisterList<16>>
                      : k <= 32 ? find_nearest<RegisterList<32>>
                                : find_nearest<LocalList>;
  return launch(kernel, blocks_of(query_clouds.rows, kThreads), kThreads, stream, tree, clouds, queries, query_clouds, k,
                index, distance2);
}

cudaError_t count_candidates(Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds, Ball ball,
                             int32_t* counts, cudaStream_t stream) {
  const Shell shell(ball.min_radius, ball.max_radius);
  return launch(count, blocks_of(query_clouds.rows, kThreads), kThreads, stream, tree, clouds, queries, query_clouds,
                shell, counts);
}

cudaError_t draw_candidates(Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds, Ball ball,
                            const float* xyz, const int32_t* counts, const int64_t* ends, int64_t first, int64_t last,
                            uint64_t* pairs, int samples, int32_t* index, float* distance2, cudaStream_t stream) {
  const Shell shell(ball.min_radius, ball.max_radius);
  const Part part{first, last, counts, ends, pairs};
  const cudaError_t error = launch(fill, blocks_of(last - first, kThreads), kThreads, stream, tree, clouds, queries,
                                   query_clouds, shell, ball.rank, part);
  if (error != cudaSuccess) return error;
  return launch(draw, blocks_of(last - first, kDrawThreads), kDrawThreads, stream, queries, xyz, ball.rank != nullptr,
                part, samples, index, distance2);
}

}  // namespace pointops::gpu
