// Nearest neighbours.
#include "search/candidates.h"
#include "search/walk.cuh"

namespace pointops::gpu {
namespace {

constexpr int kThreads = 128;

// Pairs (bits of the squared distance, index), the smallest kLength of those given to kParts lanes, in registers.
template <int kLength, int kLanes>
struct RegisterList {
  static constexpr int kParts = kLanes;
  uint64_t pairs[kLength];  // ascending

  __device__ explicit RegisterList(int) {
#pragma unroll
    for (int i = 0; i < kLength; ++i) pairs[i] = kNoNeighbour;
  }
  __device__ uint64_t last() const { return pairs[kLength - 1]; }
  // As many lanes as share a query hold, each, kLength / kParts pairs within it: kLength in all.
  __device__ uint64_t bound() const {
    uint64_t bound = pairs[kLength / kParts - 1];
#pragma unroll
    for (int step = 1; step < kParts; step *= 2) {
      const uint64_t other = __shfl_xor_sync(kAllLanes, static_cast<unsigned long long>(bound), step);
      bound = other > bound ? other : bound;
    }
    return bound;
  }
  __device__ void insert(uint64_t pair) {
    bool less = pair < pairs[kLength - 1];
#pragma unroll
    for (int i = kLength - 1; i > 0; --i) {
      const bool less_before = pair < pairs[i - 1];
      pairs[i] = less_before ? pairs[i - 1] : less ? pair : pairs[i];
      less = less_before;
    }
    if (less) pairs[0] = pair;
  }
  // The lanes of a query get the smallest pairs of all of them.
  __device__ void finish() {
#pragma unroll
    for (int step = 1; step < kParts; step *= 2) {
#pragma unroll
      for (int i = 0; i < kLength / 2; ++i) {
        uint64_t &small = pairs[i], &large = pairs[kLength - 1 - i];
        const uint64_t others_large = __shfl_xor_sync(kAllLanes, static_cast<unsigned long long>(large), step);
        const uint64_t others_small = __shfl_xor_sync(kAllLanes, static_cast<unsigned long long>(small), step);
        small = others_large < small ? others_large : small;
        large = others_small < large ? others_small : large;
      }
      sort_bitonic();
    }
  }
  __device__ void sort_bitonic() {
#pragma unroll
    for (int stride = kLength / 2; stride > 0; stride /= 2) {
#pragma unroll
      for (int i = 0; i < kLength; ++i) {
        if ((i & stride) != 0) continue;
        const uint64_t a = pairs[i], b = pairs[i + stride];
        pairs[i] = a < b ? a : b;
        pairs[i + stride] = a < b ? b : a;
      }
    }
  }
  __device__ void write(int k, int32_t* index, float* distance2) const {
    const int part = threadIdx.x % kParts;
#pragma unroll
    for (int i = 0; i < kLength; i += 4) {
      if (i / 4 % kParts != part) continue;
      if (k == kLength) {
        *reinterpret_cast<int4*>(index + i) = make_int4(index_at(i), index_at(i + 1), index_at(i + 2), index_at(i + 3));
        *reinterpret_cast<float4*>(distance2 + i) =
            make_float4(distance_at(i), distance_at(i + 1), distance_at(i + 2), distance_at(i + 3));
        continue;
      }
#pragma unroll
      for (int j = i; j < i + 4; ++j) {
        if (j >= k) break;
        index[j] = index_at(j);
        distance2[j] = distance_at(j);
      }
    }
  }
  __device__ int32_t index_at(int i) const { return static_cast<int32_t>(low(pairs[i])); }
  __device__ float distance_at(int i) const {
    return pairs[i] == kNoNeighbour ? kMissingDistance2 : bits_float(high(pairs[i]));
  }
};

// The k smallest of those given to a lane, as a heap in local memory.
struct LocalHeap {
  static constexpr int kParts = 1;
  uint64_t pairs[kMaxNeighbours];
  int k;

  __device__ explicit LocalHeap(int length) : k(length) {
    for (int i = 0; i < k; ++i) pairs[i] = kNoNeighbour;
  }
  __device__ uint64_t last() const { return pairs[0]; }
  __device__ uint64_t bound() const { return last(); }
  __device__ void insert(uint64_t pair) {
    pairs[0] = pair;
    sift_down({pairs, 1}, 0, k, Whole{});
  }
  __device__ void finish() { drain({pairs, 1}, k, Whole{}); }
  __device__ void write(int, int32_t* index, float* distance2) const {
    for (int i = 0; i < k; ++i) {
      index[i] = static_cast<int32_t>(low(pairs[i]));
      distance2[i] = pairs[i] == kNoNeighbour ? kMissingDistance2 : bits_float(high(pairs[i]));
    }
  }
};

// Lanes insert at the same time: each first marks what is near enough in a leaf, then all take their marks one by one.
template <typename List>
__global__ void __launch_bounds__(kThreads)
    find_nearest(const __grid_constant__ Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds, int k,
                 int32_t* index, float* distance2) {
  __shared__ Walk shared[kThreads / kWarp];
  constexpr int kQueries = kWarp / List::kParts;  // of a warp
  const int64_t place = global_thread() / List::kParts;
  if (place / kQueries * kQueries >= query_clouds.rows) return;  // the whole warp
  const Query query(queries[place], clouds, query_clouds);
  List best(k);
  const auto bound = [&] { return best.bound(); };
  walk<List::kParts>(tree, query, shared[threadIdx.x / kWarp], bound, [&](const LeafPart<List::kParts>& leaf) {
    const float bound2 = bits_float(high(best.bound()));
    for (uint32_t marks = leaf.marks(query, [&](float d2) { return d2 <= bound2; }); marks != 0; marks &= marks - 1) {
      const float4 point = leaf.points[__ffs(marks) - 1];
      const uint64_t pair = uint64_t{float_bits(query.distance2(point))} << 32 | float_bits(point.w);
      if (pair < best.last()) best.insert(pair);
    }
  });
  best.finish();
  if (query.index >= 0) best.write(k, index + int64_t{query.index} * k, distance2 + int64_t{query.index} * k);
}

}  // namespace

cudaError_t knn_query(Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds, int k, int32_t* index,
                      float* distance2, cudaStream_t stream) {
  const auto start = [&](auto kernel, int parts) {
    return launch(kernel, blocks_of(query_clouds.rows * parts, kThreads), kThreads, 0, stream, tree, clouds, queries,
                  query_clouds, k, index, distance2);
  };
  if (k <= 4) return start(find_nearest<RegisterList<4, 2>>, 2);
  if (k <= 8) return start(find_nearest<RegisterList<8, 4>>, 4);
  if (k <= 16) return start(find_nearest<RegisterList<16, 4>>, 4);
  if (k <= 32) return start(find_nearest<RegisterList<32, 4>>, 4);
  return start(find_nearest<LocalHeap>, 1);
}

}  // namespace pointops::gpu
