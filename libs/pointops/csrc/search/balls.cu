// Ball queries. A query with few candidates keeps them in shared memory and is answered at once; those with more are
// counted, then listed in global memory. One at the place of the one before it along the curve has the same answer.
#include "search/candidates.h"
#include "search/walk.cuh"

namespace pointops::gpu {
namespace {

constexpr int kFew = 64, kFewStride = kFew + 1;  // odd: lanes at the same place of their lists use different banks
constexpr int kParts = 4, kFewThreads = kLeaf * kParts;  // a block answers a leaf of queries
constexpr int kQueries = kWarp / kParts;                 // of a warp
constexpr int kManyThreads = 128;

// Makes pairs (index, bits of d2), or (rank, index) where there are ranks.
struct Pairing {
  const int32_t* rank;

  __device__ uint64_t operator()(const Query& query, const float4& point) const {
    const uint32_t index = float_bits(point.w);
    if (rank != nullptr) return static_cast<uint64_t>(rank[index]) << 32 | index;
    return static_cast<uint64_t>(index) << 32 | float_bits(query.distance2(point));
  }
};

struct Samples {
  const float* xyz;
  bool ranked;
  int count;
  int32_t* index;
  float* distance2;

  // Writes a sample of a query, given its sorted pairs.
  __device__ void write(int sample, const float4& query, Strided pairs, int64_t found) const {
    const int64_t chosen = !ranked && found > count ? even_choice(sample, count, found) : sample;
    const int64_t row = static_cast<int32_t>(float_bits(query.w));
    int32_t neighbour = -1;
    float d2 = kMissingDistance2;
    if (chosen < found) {
      const uint64_t pair = pairs[chosen];
      neighbour = static_cast<int32_t>(ranked ? low(pair) : high(pair));
      d2 = bits_float(low(pair));
      if (ranked) {
        const float* point = xyz + 3 * int64_t{neighbour};
        d2 = squared_length(query.x - point[0], query.y - point[1], query.z - point[2]);
      }
    }
    index[row * count + sample] = neighbour;
    distance2[row * count + sample] = d2;
  }
};

// One warp sorts a list of at most kOwn * kWarp different pairs.
template <int kOwn>
__device__ void sort_few(uint64_t* pairs, int length) {
  const int lane = threadIdx.x % kWarp;
  uint64_t own[kOwn];
  int place[kOwn] = {};
#pragma unroll
  for (int i = 0; i < kOwn; ++i) own[i] = lane + i * kWarp < length ? pairs[lane + i * kWarp] : 0;
#pragma unroll 4
  for (int other = 0; other < length; ++other) {
    const uint64_t pair = pairs[other];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) place[i] += pair < own[i];
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    if (lane + i * kWarp < length) pairs[place[i]] = own[i];
  }
  __syncwarp();
}

__device__ bool repeats(const float4* queries, int64_t place, const Clouds& clouds) {
  if (place == 0) return false;
  const float4 before = queries[place - 1], query = queries[place];
  return before.x == query.x && before.y == query.y && before.z == query.z &&
         cloud_of(clouds, float_bits(before.w)) == cloud_of(clouds, float_bits(query.w));
}

struct Few {
  Walk walks[kFewThreads / kWarp];
  uint64_t pairs[kLeaf][kFewStride];
  int found[kLeaf];  // -1: too many, or not looked for
};

__global__ void __launch_bounds__(kFewThreads)
    answer_few(const __grid_constant__ Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds,
               Shell shell, Pairing pairing, Samples samples, int32_t* counts, LeftOver* left) {
  __shared__ Few few;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, part = threadIdx.x % kParts;
  const int number = threadIdx.x / kParts;  // of the lane's query
  const int64_t first = int64_t{blockIdx.x} * kLeaf;
  Query query(queries[first + number], clouds, query_clouds);
  const bool is_repeated = repeats(queries, first + number, query_clouds);
  query.active &= !is_repeated;
  uint64_t* own = few.pairs[number];
  int found = 0;
  const auto visit = [&](const LeafPart<kParts>& leaf) {
    uint32_t marks = leaf.marks(query, [&](float d2) { return shell.holds(d2); });
    const int here = __popc(marks);
    int upto = here;  // of the lanes of the query, this one included
#pragma unroll
    for (int step = 1; step < kParts; step *= 2) {
      const int other = __shfl_up_sync(kAllLanes, upto, step, kParts);
      if (part >= step) upto += other;
    }
    int place = found + upto - here;
    found += __shfl_sync(kAllLanes, upto, kParts - 1, kParts);
    for (; marks != 0 && place < kFew; marks &= marks - 1) own[place++] = pairing(query, leaf.points[__ffs(marks) - 1]);
  };
  walk<kParts>(tree, query, few.walks[warp], [&] { return shell.bound(); }, visit);

  const bool few_enough = found <= kFew;
  if (part == 0) {
    counts[first + number] = is_repeated ? -1 : few_enough ? 0 : found;
    if (!few_enough) atomicAdd(&left->candidates, static_cast<unsigned long long>(found));
    if (is_repeated) left->has_repeated = 1;
    few.found[number] = few_enough && !is_repeated ? found : -1;
  }
  __syncwarp();
  for (int other = warp * kQueries; other < (warp + 1) * kQueries; ++other) {
    const int length = few.found[other];
    if (length > kWarp) {
      sort_few<kFew / kWarp>(few.pairs[other], length);
    } else if (length > 1) {
      sort_few<1>(few.pairs[other], length);
    }
  }
  __syncthreads();
  if (!samples.ranked && warp == 0) drained_heap({few.pairs[lane], 1}, few.found[lane]);
  __syncthreads();
  for (int i = lane; i < kQueries * samples.count; i += kWarp) {
    const int other = warp * kQueries + i / samples.count;
    const float4 asked = queries[first + other];
    if (few.found[other] < 0 || static_cast<int32_t>(float_bits(asked.w)) < 0) continue;
    samples.write(i % samples.count, asked, {few.pairs[other], 1}, few.found[other]);
  }
}

// The lists of sorted queries in global memory.
struct Part {
  int64_t first, last;
  const int32_t* counts;
  const int64_t* ends;
  uint64_t* pairs;

  __device__ uint64_t* of(int64_t place) const {
    return pairs + (ends[place] - counts[place] - (first > 0 ? ends[first - 1] : 0));
  }
};

__global__ void __launch_bounds__(kManyThreads)
    list_many(const __grid_constant__ Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds, Shell shell,
              Pairing pairing, Part part) {
  __shared__ Walk shared[kManyThreads / kWarp];
  const int64_t place = part.first + global_thread();
  if (place / kWarp * kWarp >= part.last) return;
  Query query(queries[place], clouds, query_clouds);
  query.active = query.active && part.counts[place] > 0;
  uint64_t* next = part.of(place);
  const auto visit = [&](const LeafPart<1>& leaf) {
    for (uint32_t marks = leaf.marks(query, [&](float d2) { return shell.holds(d2); }); marks != 0; marks &= marks - 1)
      *next++ = pairing(query, leaf.points[__ffs(marks) - 1]);
  };
  walk<1>(tree, query, shared[threadIdx.x / kWarp], [&] { return shell.bound(); }, visit);
}

__global__ void __launch_bounds__(kManyThreads) answer_many(const float4* queries, Samples samples, Part part) {
  const int64_t place = part.first + global_thread();
  if (place >= part.last) return;
  const int64_t found = part.counts[place];
  if (found <= 0) return;
  const Strided pairs{part.of(place), 1};
  heap_sort(pairs, found);
  if (!samples.ranked) drained_heap(pairs, found);
  for (int i = 0; i < samples.count; ++i) samples.write(i, queries[place], pairs, found);
}

}  // namespace

cudaError_t draw_few(Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds, Ball ball, const float* xyz,
                     int samples, int32_t* counts, LeftOver* left, int32_t* index, float* distance2,
                     cudaStream_t stream) {
  const cudaError_t error = cudaMemsetAsync(left, 0, sizeof(LeftOver), stream);
  if (error != cudaSuccess) return error;
  return launch(answer_few, blocks_of(query_clouds.rows, kLeaf), kFewThreads, 0, stream, tree, clouds, queries,
                query_clouds, Shell(ball.min_radius, ball.max_radius), Pairing{ball.rank},
                Samples{xyz, ball.rank != nullptr, samples, index, distance2}, counts, left);
}

cudaError_t draw_many(Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds, Ball ball, const float* xyz,
                      const int32_t* counts, const int64_t* ends, int64_t first, int64_t last, uint64_t* pairs,
                      int samples, int32_t* index, float* distance2, cudaStream_t stream) {
  const Part part{first, last, counts, ends, pairs};
  const int64_t blocks = blocks_of(last - first, kManyThreads);
  const cudaError_t error = launch(list_many, blocks, kManyThreads, 0, stream, tree, clouds, queries, query_clouds,
                                   Shell(ball.min_radius, ball.max_radius), Pairing{ball.rank}, part);
  if (error != cudaSuccess) return error;
  return launch(answer_many, blocks, kManyThreads, 0, stream, queries,
                Samples{xyz, ball.rank != nullptr, samples, index, distance2}, part);
}

}  // namespace pointops::gpu
