// Farthest point sampling, one block a cloud. Points lie in buckets along the curve; each lane keeps the boxes of a few
// of them and how far their farthest points are. A new sample changes only buckets that are nearer to it than their
// farthest point is to the samples before; their warp updates them, all points of a bucket at once.
#include "sampling/sampling_cuda.h"
#include "search/device.cuh"

namespace pointops::gpu {
namespace {

// The larger is farther; of equal distances the lower index.
struct Key {
  uint32_t distance2, inverse_index;  // bits of the squared distance to the samples

  __device__ uint64_t whole() const { return uint64_t{distance2} << 32 | inverse_index; }
  __device__ bool beyond(const Key& other) const { return whole() > other.whole(); }
};

struct alignas(16) Farthest {
  float x, y, z;
  Key key;
};

// A lane with the largest key.
__device__ __forceinline__ int largest_lane(const Key& key) {
  const uint32_t most = warp_max(key.distance2);
  const unsigned votes = __ballot_sync(kAllLanes, key.distance2 == most);
  if ((votes & (votes - 1)) == 0) return __ffs(votes) - 1;
  const uint32_t first = warp_max(key.distance2 == most ? key.inverse_index : 0);
  return __ffs(__ballot_sync(kAllLanes, key.distance2 == most && key.inverse_index == first)) - 1;
}

__device__ __forceinline__ Key of_lane(const Key& key, int lane) {
  return {__shfl_sync(kAllLanes, key.distance2, lane), __shfl_sync(kAllLanes, key.inverse_index, lane)};
}

struct Bucket {
  int32_t begin, end;  // positions
};

// The farthest point of a bucket, by one warp; shortened(d2, point) is what becomes of its distance. kBatch loads of a
// lane are under way at once: behind the end they take the last point again, which changes nothing.
template <int kBatch, typename Shortened>
__device__ __forceinline__ Key update(const float4* points, Bucket bucket, float* distance2, Shortened shortened,
                                      float3* place) {
  const int lane = threadIdx.x % kWarp;
  Key own{0, 0};
  float3 own_place = make_float3(0, 0, 0);
  for (int32_t first = bucket.begin; first < bucket.end; first += kBatch * kWarp) {
    float4 point[kBatch];
    float before[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int32_t at = min(first + i * kWarp + lane, bucket.end - 1);
      point[i] = __ldg(points + at);
      before[i] = distance2[at];
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const float after = shortened(before[i], point[i]);
      distance2[min(first + i * kWarp + lane, bucket.end - 1)] = after;
      const Key key{float_bits(after), ~float_bits(point[i].w)};
      const bool farther = key.beyond(own);
      own.distance2 = farther ? key.distance2 : own.distance2;
      own.inverse_index = farther ? key.inverse_index : own.inverse_index;
      own_place.x = farther ? point[i].x : own_place.x;
      own_place.y = farther ? point[i].y : own_place.y;
      own_place.z = farther ? point[i].z : own_place.z;
    }
  }
  const int holder = largest_lane(own);
  if (lane == holder) *place = own_place;
  return of_lane(own, holder);
}

template <int kThreads, int kBuckets, int kBatch>
__global__ void __launch_bounds__(kThreads)
    sample(const float* xyz, const float4* sorted, Clouds clouds, Clouds samples, float* distance2, int32_t* index) {
  constexpr int kWarps = kThreads / kWarp;
  __shared__ float3 places[kBuckets * kWarp][kWarps];  // of the farthest points
  __shared__ Farthest of_warps[2][kWarps];
  const int64_t cloud = blockIdx.x;
  const Range points = rows_of(clouds, cloud), wanted = rows_of(samples, cloud);
  if (points.begin >= points.end || wanted.begin >= wanted.end) return;  // the whole block
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const auto share = static_cast<int32_t>(blocks_of(points.end - points.begin, kThreads * kBuckets));
  const int32_t size = max(share, kWarp);
  // neighbours along the curve are in different warps
  const auto bucket_at = [&](int number) {
    const int64_t begin = points.begin + int64_t{number * kWarps + warp} * size, end = begin + size;
    return Bucket{static_cast<int32_t>(begin < points.end ? begin : points.end),
                  static_cast<int32_t>(end < points.end ? end : points.end)};
  };

  Box boxes[kBuckets];
  Key keys[kBuckets];
#pragma unroll
  for (int slot = 0; slot < kBuckets; ++slot) {
    boxes[slot] = empty_box();
    keys[slot] = {0, 0};
    for (int of = 0; of < kWarp; ++of) {
      const Bucket bucket = bucket_at(slot * kWarp + of);
      if (bucket.begin == bucket.end) break;  // the whole warp; those behind have no points either
      Box box = empty_box();
      for (int32_t i = bucket.begin + lane; i < bucket.end; i += kWarp) {
        const float4 point = sorted[i];
        const bool finite = is_finite(point);
        distance2[i] = finite ? bits_float(high(kFarthest)) : 0.0f;
        if (finite) box = join(box, {point, point});
      }
      __syncwarp();  // lanes behind the end read what another wrote
      box = warp_union(box);
      const auto same = [](float before, const float4&) { return before; };
      const Key key = update<1>(sorted, bucket, distance2, same, &places[slot * kWarp + of][warp]);
      if (lane != of) continue;
      boxes[slot] = box;
      keys[slot] = key;
    }
  }
  __syncwarp();  // places and distances of the first update may be written by other lanes than those of the next

  float4 last = make_float4(xyz[3 * points.begin], xyz[3 * points.begin + 1], xyz[3 * points.begin + 2], 0);
  if (threadIdx.x == 0) index[wanted.begin] = static_cast<int32_t>(points.begin);
  const auto shortened = [&](float before, const float4& point) {
    const float d2 = squared_length(last.x - point.x, last.y - point.y, last.z - point.z);
    return d2 < before ? d2 : before;
  };
  Farthest of_warp{};
  bool stale = true;
  for (int64_t next = wanted.begin + 1; next < wanted.end; ++next) {
#pragma unroll
    for (int slot = 0; slot < kBuckets; ++slot) {
      const bool changes = box_distance2(last, last, boxes[slot]) < bits_float(keys[slot].distance2);
      for (unsigned votes = __ballot_sync(kAllLanes, changes); votes != 0; votes &= votes - 1) {
        const int number = slot * kWarp + __ffs(votes) - 1;
        const Key key = update<kBatch>(sorted, bucket_at(number), distance2, shortened, &places[number][warp]);
        if (number == slot * kWarp + lane) keys[slot] = key;
        stale = true;
      }
    }
    if (stale) {
      Key own = keys[0];
      int own_slot = 0;
#pragma unroll
      for (int slot = 1; slot < kBuckets; ++slot) {
        const bool farther = keys[slot].beyond(own);
        own.distance2 = farther ? keys[slot].distance2 : own.distance2;
        own.inverse_index = farther ? keys[slot].inverse_index : own.inverse_index;
        own_slot = farther ? slot : own_slot;
      }
      const int holder = largest_lane(own);
      __syncwarp();
      const float3 place = places[__shfl_sync(kAllLanes, own_slot, holder) * kWarp + holder][warp];
      of_warp = {place.x, place.y, place.z, of_lane(own, holder)};
      stale = false;
    }
    // one barrier a sample: what is written here was last read before the barrier of the sample before
    Farthest* const all = of_warps[next & 1];
    if (lane == 0) all[warp] = of_warp;
    __syncthreads();
    const Farthest& chosen = all[largest_lane(all[lane % kWarps].key) % kWarps];
    last = make_float4(chosen.x, chosen.y, chosen.z, 0);
    if (threadIdx.x == 0) index[next] = static_cast<int32_t>(~chosen.key.inverse_index);
  }
}

}  // namespace

cudaError_t farthest_point_sampling(const float* xyz, const float4* sorted, Clouds clouds, Clouds samples,
                                    float* distance2, int32_t* index, cudaStream_t stream) {
  constexpr int kThreads = 512;
  return launch(sample<kThreads, 2, 8>, clouds.count, kThreads, 0, stream, xyz, sorted, clouds, samples, distance2,
                index);
}

}  // namespace pointops::gpu
