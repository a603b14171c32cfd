// Farthest point sampling, one block a cloud. Each thread keeps the box and the farthest point of one bucket of points;
// a new sample changes only buckets that are nearer to it than their farthest point is to the samples before.
#include <math_constants.h>

#include "device.cuh"

namespace pointops::gpu {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMaxWarps = kMaxThreads / kWarp;

// (bits of the squared distance to the samples, ~index): the largest is the farthest point, the lowest index of equals
using Farthest = uint64_t;

__device__ Farthest warp_max(Farthest value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const Farthest other = __shfl_xor_sync(kAllLanes, static_cast<unsigned long long>(value), step);
    value = other > value ? other : value;
  }
  return value;
}

struct Scratch {
  Farthest farthest[kMaxThreads];  // of every bucket, and where it lies
  float x[kMaxThreads], y[kMaxThreads], z[kMaxThreads];
  int32_t changed[kMaxThreads];
  int32_t num_changed[2];
  Farthest of_warp[kMaxWarps];
  int32_t bucket_of_warp[kMaxWarps];
};

struct Bucket {
  int64_t begin, end;  // positions
};

__device__ Farthest farthest_at(float distance2, const float4& point) {
  return Farthest{float_bits(distance2)} << 32 | static_cast<uint32_t>(~float_bits(point.w));
}

__device__ void keep(Scratch& scratch, int bucket, Farthest farthest, const float4& point) {
  scratch.farthest[bucket] = farthest;
  scratch.x[bucket] = point.x;
  scratch.y[bucket] = point.y;
  scratch.z[bucket] = point.z;
}

// One thread: the box of its bucket; all finite points are as far as can be.
__device__ Box start_bucket(const float4* sorted, Bucket bucket, float* distance2, Scratch& scratch) {
  Box box{make_float4(CUDART_INF_F, CUDART_INF_F, CUDART_INF_F, 0),
          make_float4(-CUDART_INF_F, -CUDART_INF_F, -CUDART_INF_F, 0)};
  Farthest farthest = 0;
  float4 place = make_float4(0, 0, 0, 0);
  for (int64_t i = bucket.begin; i < bucket.end; ++i) {
    const float4 point = sorted[i];
    distance2[i] = is_finite(point) ? bits_float(high(kFarthest)) : 0.0f;
    if (is_finite(point)) {
      box.low = make_float4(fminf(box.low.x, point.x), fminf(box.low.y, point.y), fminf(box.low.z, point.z), 0);
      box.high = make_float4(fmaxf(box.high.x, point.x), fmaxf(box.high.y, point.y), fmaxf(box.high.z, point.z), 0);
    }
    const Farthest here = farthest_at(distance2[i], point);
    if (here > farthest) {
      farthest = here;
      place = point;
    }
  }
  keep(scratch, threadIdx.x, farthest, place);
  return box;
}

// One warp: shortens the distances in a bucket by that to a new sample.
__device__ void update_bucket(const float4* sorted, Bucket range, int bucket, const float4& sample, float* distance2,
                              Scratch& scratch) {
  Farthest farthest = 0;
  float4 place = make_float4(0, 0, 0, 0);
  for (int64_t i = range.begin + threadIdx.x % kWarp; i < range.end; i += kWarp) {
    const float4 point = sorted[i];
    const float d2 = squared_length(sample.x - point.x, sample.y - point.y, sample.z - point.z);
    const float before = distance2[i];
    if (d2 < before) distance2[i] = d2;
    const Farthest here = farthest_at(d2 < before ? d2 : before, point);
    if (here > farthest) {
      farthest = here;
      place = point;
    }
  }
  const Farthest largest = warp_max(farthest);
  if (farthest == largest && largest != 0) keep(scratch, bucket, farthest, place);  // one lane: indices differ
}

__global__ void __launch_bounds__(kMaxThreads) sample(const float* xyz, const float4* sorted, Clouds clouds,
                                                     Clouds samples, float* distance2, int32_t* index) {
  __shared__ Scratch scratch;
  const int64_t cloud = blockIdx.x;
  const Range points = rows_of(clouds, cloud), wanted = rows_of(samples, cloud);
  if (points.begin >= points.end || wanted.begin >= wanted.end) return;  // the whole block
  const int thread = threadIdx.x, lane = thread % kWarp, warp = thread / kWarp;
  const int threads = blockDim.x, warps = threads / kWarp;
  const int64_t size = ((points.end - points.begin + threads - 1) / threads + kWarp - 1) / kWarp * kWarp;
  const auto bucket_at = [&](int64_t bucket) {
    const int64_t begin = points.begin + bucket * size, end = begin + size;
    return Bucket{begin < points.end ? begin : points.end, end < points.end ? end : points.end};
  };

  const Box box = start_bucket(sorted, bucket_at(thread), distance2, scratch);
  if (thread < 2) scratch.num_changed[thread] = 0;
  float4 last = make_float4(xyz[3 * points.begin], xyz[3 * points.begin + 1], xyz[3 * points.begin + 2], 0);
  if (thread == 0) index[wanted.begin] = static_cast<int32_t>(points.begin);
  __syncthreads();
  for (int64_t next = wanted.begin + 1; next < wanted.end; ++next) {
    int32_t& num_changed = scratch.num_changed[next & 1];
    const bool changes = box_distance2(last, last, box) < bits_float(high(scratch.farthest[thread]));
    const unsigned votes = __ballot_sync(kAllLanes, changes);
    int base = 0;
    if (lane == 0 && votes != 0) base = atomicAdd(&num_changed, __popc(votes));
    base = __shfl_sync(kAllLanes, base, 0);
    if (changes) scratch.changed[base + __popc(votes & ((1u << lane) - 1))] = thread;
    __syncthreads();
    if (thread == 0) scratch.num_changed[(next + 1) & 1] = 0;
    for (int i = warp; i < num_changed; i += warps)
      update_bucket(sorted, bucket_at(scratch.changed[i]), scratch.changed[i], last, distance2, scratch);
    __syncthreads();

    const Farthest own = scratch.farthest[thread];
    const Farthest of_warp = warp_max(own);
    const int first_lane = __ffs(__ballot_sync(kAllLanes, own == of_warp)) - 1;
    if (lane == first_lane) {
      scratch.of_warp[warp] = own;
      scratch.bucket_of_warp[warp] = thread;
    }
    __syncthreads();
    const Farthest candidate = lane < warps ? scratch.of_warp[lane] : 0;
    const Farthest farthest = warp_max(candidate);
    const int from = __ffs(__ballot_sync(kAllLanes, lane < warps && candidate == farthest)) - 1;
    const int bucket = scratch.bucket_of_warp[from];
    last = make_float4(scratch.x[bucket], scratch.y[bucket], scratch.z[bucket], 0);
    if (thread == 0) index[next] = static_cast<int32_t>(~low(farthest));
  }
}

}  // namespace

cudaError_t farthest_point_sampling(const float* xyz, const float4* sorted, Clouds clouds, Clouds samples,
                                    float* distance2, int32_t* index, cudaStream_t stream) {
  int threads = kWarp;
  while (threads < kMaxThreads && int64_t{threads} * kWarp < clouds.rows) threads *= 2;
  return launch(sample, clouds.count, threads, stream, xyz, sorted, clouds, samples, distance2, index);
}

}  // namespace pointops::gpu
