// What the kernels share.
#pragma once

#include "common/launch.cuh"
#include "search/numbers.h"
#include "search/search_cuda.h"

namespace pointops::gpu {

using namespace common;

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
static_assert(kLeaf == kWarp && kFan == kWarp, "a warp works on a leaf, or on the boxes in a box");

__device__ __forceinline__ int64_t global_thread() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }

__host__ __device__ inline int64_t blocks_of(int64_t items, int64_t items_per_block) {
  return (items + items_per_block - 1) / items_per_block;
}

// The cloud that holds row; count where none does.
__device__ __forceinline__ int64_t cloud_of(const Clouds& clouds, int64_t row) {
  int64_t begin = 0, end = clouds.count;
  while (begin < end) {
    const int64_t middle = (begin + end) / 2;
    if (clouds.offset[middle] <= row) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

struct Range {
  int64_t begin = 0, end = 0;
};

__device__ __forceinline__ int64_t within(int64_t value, int64_t limit) {
  return value < 0 ? 0 : value > limit ? limit : value;
}

// The rows of a cloud; none where there is no such cloud.
__device__ __forceinline__ Range rows_of(const Clouds& clouds, int64_t cloud) {
  Range range;
  if (cloud >= clouds.count) return range;
  range.begin = cloud == 0 ? 0 : within(clouds.offset[cloud - 1], clouds.rows);
  range.end = within(clouds.offset[cloud], clouds.rows);
  return range;
}

__device__ __forceinline__ bool is_finite(const float4& point) {
  return pointops::is_finite(point.x) && pointops::is_finite(point.y) && pointops::is_finite(point.z);
}

__device__ __forceinline__ float warp_min(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value = fminf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}
__device__ __forceinline__ int32_t warp_min(int32_t value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const int32_t other = __shfl_xor_sync(kAllLanes, value, step);
    value = other < value ? other : value;
  }
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}
__device__ __forceinline__ uint32_t warp_max(uint32_t value) {
#if __CUDA_ARCH__ >= 800
  return __reduce_max_sync(kAllLanes, value);
#else
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const uint32_t other = __shfl_xor_sync(kAllLanes, value, step);
    value = other > value ? other : value;
  }
  return value;
#endif
}

__device__ __forceinline__ Box empty_box() {
  const float infinity = bits_float(0x7f800000);
  return {make_float4(infinity, infinity, infinity, bits_float(0xffffffffu)),
          make_float4(-infinity, -infinity, -infinity, 0)};
}

__device__ __forceinline__ Box join(const Box& a, const Box& b) {
  const uint32_t first = float_bits(a.low.w), other_first = float_bits(b.low.w);
  return {make_float4(fminf(a.low.x, b.low.x), fminf(a.low.y, b.low.y), fminf(a.low.z, b.low.z),
                      bits_float(first < other_first ? first : other_first)),
          make_float4(fmaxf(a.high.x, b.high.x), fmaxf(a.high.y, b.high.y), fmaxf(a.high.z, b.high.z), 0)};
}

// The box around the boxes of all lanes.
__device__ __forceinline__ Box warp_union(const Box& box) {
  return {make_float4(warp_min(box.low.x), warp_min(box.low.y), warp_min(box.low.z),
                      bits_float(~warp_max(~float_bits(box.low.w)))),
          make_float4(warp_max(box.high.x), warp_max(box.high.y), warp_max(box.high.z), 0)};
}

// Squared distance between two boxes, or a point and a box.
__device__ __forceinline__ float box_distance2(const float4& low, const float4& high, const Box& box) {
  return squared_length(gap(box.low.x - high.x, low.x - box.high.x), gap(box.low.y - high.y, low.y - box.high.y),
                        gap(box.low.z - high.z, low.z - box.high.z));
}

}  // namespace pointops::gpu
