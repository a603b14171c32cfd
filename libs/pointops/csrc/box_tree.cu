#include <math_constants.h>

#include "curve.h"
#include "device.cuh"

namespace pointops::gpu {
namespace {

constexpr int kThreads = 256;

// Ascends with the float.
__device__ uint32_t sortable(float value) {
  const uint32_t bits = float_bits(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ float unsortable(uint32_t value) {
  return bits_float(value & 0x80000000u ? value & 0x7fffffffu : ~value);
}

__global__ void no_bounds(uint32_t* bounds) {
  if (threadIdx.x < 6) bounds[threadIdx.x] = threadIdx.x < 3 ? 0xffffffffu : 0u;
}

__global__ void __launch_bounds__(kThreads) extend_bounds(const float* xyz, int64_t points, uint32_t* bounds) {
  float low[3], high[3];
  for (int axis = 0; axis < 3; ++axis) {
    low[axis] = CUDART_INF_F;
    high[axis] = -CUDART_INF_F;
  }
  for (int64_t i = global_thread(); i < points; i += int64_t{gridDim.x} * blockDim.x) {
    if (!pointops::is_finite(xyz + 3 * i)) continue;
    for (int axis = 0; axis < 3; ++axis) {
      low[axis] = fminf(low[axis], xyz[3 * i + axis]);
      high[axis] = fmaxf(high[axis], xyz[3 * i + axis]);
    }
  }
  for (int axis = 0; axis < 3; ++axis) {
    low[axis] = warp_min(low[axis]);
    high[axis] = warp_max(high[axis]);
  }
  if (threadIdx.x % kWarp != 0) return;
  for (int axis = 0; axis < 3; ++axis) {
    atomicMin(bounds + axis, sortable(low[axis]));
    atomicMax(bounds + 3 + axis, sortable(high[axis]));
  }
}

__global__ void __launch_bounds__(kThreads) write_codes(const float* xyz, Clouds clouds, const uint32_t* bounds,
                                                       int64_t* codes) {
  const int64_t i = global_thread();
  if (i >= clouds.rows) return;
  float limits[6];
  for (int axis = 0; axis < 6; ++axis) limits[axis] = unsortable(bounds[axis]);
  const int64_t cloud = cloud_of(clouds, i);
  const int64_t last = clouds.count - 1;
  codes[i] = static_cast<int64_t>(Curve(limits, clouds.count).code(xyz + 3 * i, cloud < last ? cloud : last));
}

__global__ void __launch_bounds__(kThreads) write_points(const float* xyz, const int64_t* order, int64_t points,
                                                        float4* sorted) {
  const int64_t position = global_thread();
  if (position >= (points + kLeaf - 1) / kLeaf * kLeaf) return;
  if (position >= points) {
    sorted[position] = make_float4(CUDART_NAN_F, CUDART_NAN_F, CUDART_NAN_F, bits_float(0xffffffffu));
    return;
  }
  const int64_t row = order[position];
  sorted[position] = make_float4(xyz[3 * row], xyz[3 * row + 1], xyz[3 * row + 2], bits_float(static_cast<uint32_t>(row)));
}

__device__ Box empty_box() {
  return {make_float4(CUDART_INF_F, CUDART_INF_F, CUDART_INF_F, 0),
          make_float4(-CUDART_INF_F, -CUDART_INF_F, -CUDART_INF_F, 0)};
}

__global__ void __launch_bounds__(kThreads) surround_leaves(const float4* sorted, int64_t leaves, Box* boxes) {
  const int64_t leaf = global_thread() / kWarp;
  const int lane = threadIdx.x % kWarp;
  if (leaf >= leaves) return;  // the whole warp
  const float4 point = sorted[leaf * kLeaf + lane];
  Box box = empty_box();
  if (is_finite(point)) box.low = box.high = point;
  box.low = make_float4(warp_min(box.low.x), warp_min(box.low.y), warp_min(box.low.z), 0);
  box.high = make_float4(warp_max(box.high.x), warp_max(box.high.y), warp_max(box.high.z), 0);
  if (lane == 0) boxes[leaf] = box;
}

__global__ void __launch_bounds__(kThreads) surround_boxes(const Box* inner, int64_t inner_count, Box* outer,
                                                          int64_t outer_count) {
  const int64_t place = global_thread();
  if (place >= outer_count) return;
  Box box = empty_box();
  for (int64_t child = place * kFan; child < place * kFan + kFan && child < inner_count; ++child) {
    const Box other = inner[child];
    box.low = make_float4(fminf(box.low.x, other.low.x), fminf(box.low.y, other.low.y), fminf(box.low.z, other.low.z), 0);
    box.high = make_float4(fmaxf(box.high.x, other.high.x), fmaxf(box.high.y, other.high.y),
                           fmaxf(box.high.z, other.high.z), 0);
  }
  outer[place] = box;
}

}  // namespace

cudaError_t find_bounds(const float* xyz, int64_t points, uint32_t* bounds, cudaStream_t stream) {
  const cudaError_t error = launch(no_bounds, 1, kWarp, stream, bounds);
  if (error != cudaSuccess) return error;
  const int64_t blocks = blocks_of(points, kThreads);
  return launch(extend_bounds, blocks < 512 ? blocks : 512, kThreads, stream, xyz, points, bounds);
}

cudaError_t curve_codes(const float* xyz, Clouds clouds, const uint32_t* bounds, int64_t* codes, cudaStream_t stream) {
  return launch(write_codes, blocks_of(clouds.rows, kThreads), kThreads, stream, xyz, clouds, bounds, codes);
}

cudaError_t pack_points(const float* xyz, const int64_t* order, int64_t points, float4* sorted, cudaStream_t stream) {
  const int64_t positions = blocks_of(points, kLeaf) * kLeaf;
  return launch(write_points, blocks_of(positions, kThreads), kThreads, stream, xyz, order, points, sorted);
}

cudaError_t surround(const float4* sorted, Levels levels, Box* boxes, cudaStream_t stream) {
  const int64_t leaves = levels.boxes[0];
  cudaError_t error =
      launch(surround_leaves, blocks_of(leaves * kWarp, kThreads), kThreads, stream, sorted, leaves, boxes);
  for (int level = 1; level < levels.count && error == cudaSuccess; ++level) {
    error = launch(surround_boxes, blocks_of(levels.boxes[level], kThreads), kThreads, stream,
                   static_cast<const Box*>(boxes + levels.first[level - 1]), levels.boxes[level - 1],
                   boxes + levels.first[level], levels.boxes[level]);
  }
  return error;
}

}  // namespace pointops::gpu
