#include "search/curve.h"
#include "search/device.cuh"

namespace pointops::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kPackThreads = kWarp * kFan;  // a block surrounds kFan leaves
constexpr int kSplitThreads = 512;
#ifndef MANY_IN_CELL
#define MANY_IN_CELL 1024
#endif
constexpr int64_t kMany = MANY_IN_CELL;

// Ascends with the float.
__device__ uint32_t sortable(float value) {
  const uint32_t bits = float_bits(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ float unsortable(uint32_t value) { return bits_float(value & 0x80000000u ? value & 0x7fffffffu : ~value); }

// bounds: of no point yet, and behind them the middle of a sample
__global__ void __launch_bounds__(kSample) begin_bounds(const float* xyz, int64_t points, uint32_t* bounds) {
  __shared__ float sample[kSample][3];
  const int thread = threadIdx.x;
  if (thread < 6) bounds[thread] = bounds[6 + thread] = thread < 3 ? 0xffffffffu : 0u;
  const float* point = xyz + 3 * sampled_row(thread, points);
  const bool counts = pointops::is_finite(point);
  for (int axis = 0; axis < 3; ++axis) sample[thread][axis] = counts ? point[axis] : bits_float(0x7fc00000);
  __syncthreads();
  if (!counts) return;
  int count = 0, ranks[3] = {0, 0, 0};
  for (int other = 0; other < kSample; ++other) {
    count += pointops::is_finite(sample[other][0]);
    for (int axis = 0; axis < 3; ++axis) {
      const float value = sample[thread][axis], beside = sample[other][axis];
      ranks[axis] += beside < value || (beside == value && other < thread);
    }
  }
  for (int axis = 0; axis < 3; ++axis) {
    if (ranks[axis] == count / kOutside) bounds[6 + axis] = sortable(sample[thread][axis]);
    if (ranks[axis] == count - 1 - count / kOutside) bounds[9 + axis] = sortable(sample[thread][axis]);
  }
}

__device__ Box box_of(const float4& point) {
  if (!is_finite(point)) return empty_box();
  return {point, point};
}

// bounds: the finite coordinates, as numbers that sort like the floats
__global__ void __launch_bounds__(kThreads) extend_bounds(const float* xyz, int64_t points, uint32_t* bounds) {
  Box box = empty_box();
  for (int64_t i = global_thread(); i < points; i += int64_t{gridDim.x} * blockDim.x)
    box = join(box, box_of(make_float4(xyz[3 * i], xyz[3 * i + 1], xyz[3 * i + 2], 0)));
  box = warp_union(box);
  __shared__ Box of_warp[kThreads / kWarp];
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = box;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kThreads / kWarp; ++warp) box = join(box, of_warp[warp]);
  atomicMin(bounds, sortable(box.low.x));
  atomicMin(bounds + 1, sortable(box.low.y));
  atomicMin(bounds + 2, sortable(box.low.z));
  atomicMax(bounds + 3, sortable(box.high.x));
  atomicMax(bounds + 4, sortable(box.high.y));
  atomicMax(bounds + 5, sortable(box.high.z));
}

__global__ void __launch_bounds__(kThreads)
    write_codes(const float* xyz, Clouds clouds, const uint32_t* bounds, uint64_t* codes, uint32_t* rows) {
  const int64_t i = global_thread();
  if (i >= clouds.rows) return;
  float limits[kLimits];
  for (int limit = 0; limit < kLimits; ++limit) limits[limit] = unsortable(bounds[limit]);
  draw_in(limits, limits + 6);
  const int64_t cloud = cloud_of(clouds, i);
  const int64_t last = clouds.count - 1;
  codes[i] = Curve(limits, clouds.count).code(xyz + 3 * i, cloud < last ? cloud : last);
  rows[i] = static_cast<uint32_t>(i);
}

// The first of the sorted codes that is not below `code`.
__device__ int64_t first_of(const uint64_t* codes, int64_t count, uint64_t code) {
  int64_t begin = 0, end = count;
  while (begin < end) {
    const int64_t middle = (begin + end) / 2;
    if (codes[middle] < code) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

// Codes of points and their rows, in global memory.
struct Coded {
  uint64_t* codes;
  uint32_t* rows;

  // Lets the larger come later.
  __device__ void order(int64_t i, int64_t later) const {
    const uint64_t code = codes[i], later_code = codes[later];
    const uint32_t row = rows[i], later_row = rows[later];
    if (code < later_code || (code == later_code && row < later_row)) return;
    codes[i] = later_code;
    codes[later] = code;
    rows[i] = later_row;
    rows[later] = row;
  }
  // Sorts `count` of them by code and row, by one block: a bitonic network, as if the largest followed.
  __device__ void sort(int64_t count) const {
    for (int64_t half = 1; half < count; half *= 2) {
      for (int64_t stride = half; stride > 0; stride /= 2) {
        for (int64_t pair = threadIdx.x; 2 * pair < count + stride; pair += blockDim.x) {
          const int64_t within = pair & (stride - 1), i = 2 * pair - within;
          const int64_t later = stride == half ? i - within + 2 * stride - 1 - within : i + stride;
          if (later < count) order(i, later);
        }
        __syncthreads();
      }
    }
  }
};

// Points of a cell that holds many go along a curve through the cell: else leaves in which they lie in the order of
// their rows would all reach through the cell. A block for every kMany positions sorts the cell that fills them, if it
// does not fill those before. Points at one place stay in the order of their rows.
__global__ void __launch_bounds__(kSplitThreads)
    split_cells(const float* xyz, const uint64_t* codes, int64_t num_points, uint64_t* finer, uint32_t* rows) {
  __shared__ uint32_t bounds[6];
  const int64_t place = blockIdx.x * kMany;
  const uint64_t code = codes[place];
  if (codes[place + kMany - 1] != code || (place > 0 && codes[place - kMany] == code)) return;  // the whole block
  const int thread = threadIdx.x;
  const int64_t begin = first_of(codes, num_points, code), end = first_of(codes, num_points, code + 1);
  if (thread < 6) bounds[thread] = thread < 3 ? 0xffffffffu : 0u;
  __syncthreads();
  for (int64_t i = begin + thread; i < end; i += kSplitThreads) {
    const float* point = xyz + 3 * int64_t{rows[i]};
    if (!pointops::is_finite(point)) continue;
    for (int axis = 0; axis < 3; ++axis) {
      atomicMin(bounds + axis, sortable(point[axis]));
      atomicMax(bounds + 3 + axis, sortable(point[axis]));
    }
  }
  __syncthreads();
  float limits[6];
  for (int limit = 0; limit < 6; ++limit) limits[limit] = unsortable(bounds[limit]);
  if (!(limits[0] < limits[3] || limits[1] < limits[4] || limits[2] < limits[5])) return;  // the whole block
  const Curve curve(limits, 1);
  for (int64_t i = begin + thread; i < end; i += kSplitThreads) finer[i] = curve.code(xyz + 3 * int64_t{rows[i]}, 0);
  __syncthreads();
  Coded{finer + begin, rows + begin}.sort(end - begin);
}

// A warp packs and surrounds a leaf, a block all leaves of a box of the next level.
__global__ void __launch_bounds__(kPackThreads)
    pack(const float* xyz, const uint32_t* rows, int64_t num_points, Levels levels, float4* points, Box* boxes) {
  __shared__ Box of_leaf[kFan];
  const int64_t position = global_thread(), leaf = position / kLeaf;
  const float none = bits_float(0x7fc00000);
  float4 point = make_float4(none, none, none, bits_float(0xffffffffu));
  if (position < num_points) {
    const int64_t row = rows[position];
    point = make_float4(xyz[3 * row], xyz[3 * row + 1], xyz[3 * row + 2], bits_float(static_cast<uint32_t>(row)));
  }
  const Box box = warp_union(box_of(point));
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  if (leaf < levels.boxes[0]) points[position] = point;
  if (lane == 0) {
    if (leaf < levels.boxes[0]) boxes[leaf] = box;
    of_leaf[warp] = box;
  }
  __syncthreads();
  if (warp > 0 || levels.count == 1) return;
  const Box outer = warp_union(of_leaf[lane]);
  if (lane == 0) boxes[levels.first[1] + blockIdx.x] = outer;
}

// One block: the levels from the third on.
__global__ void __launch_bounds__(kPackThreads) surround(const __grid_constant__ Levels levels, Box* boxes) {
  const int lane = threadIdx.x % kWarp;
  for (int level = 2; level < levels.count; ++level) {
    const Box* inner = boxes + levels.first[level - 1];
    for (int64_t place = threadIdx.x / kWarp; place < levels.boxes[level]; place += kPackThreads / kWarp) {
      const int64_t child = place * kFan + lane;
      const Box box = warp_union(child < levels.boxes[level - 1] ? inner[child] : empty_box());
      if (lane == 0) boxes[levels.first[level] + place] = box;
    }
    __syncthreads();
  }
}

}  // namespace

size_t curve_scratch(Clouds clouds) {
  return radix_sort_scratch(static_cast<int>(clouds.rows), Curve::code_bits(clouds.count));
}

cudaError_t build_tree(const float* xyz, Clouds clouds, Levels levels, CurveScratch scratch, float4* points, Box* boxes,
                       cudaStream_t stream) {
  if (clouds.rows == 0) return cudaSuccess;
  cudaError_t error = launch(begin_bounds, 1, kSample, 0, stream, xyz, clouds.rows, scratch.bounds);
  if (error != cudaSuccess) return error;
  const int64_t blocks = blocks_of(clouds.rows, kThreads);
  error = launch(extend_bounds, blocks < 512 ? blocks : 512, kThreads, 0, stream, xyz, clouds.rows, scratch.bounds);
  if (error != cudaSuccess) return error;
  error = launch(write_codes, blocks, kThreads, 0, stream, xyz, clouds, static_cast<const uint32_t*>(scratch.bounds),
                 scratch.pairs.keys[0], scratch.pairs.values[0]);
  if (error != cudaSuccess) return error;
  SortedPairs sorted{};
  error = radix_sort(scratch.pairs, static_cast<int>(clouds.rows), Curve::code_bits(clouds.count), scratch.bytes,
                     scratch.num_bytes, stream, &sorted);
  if (error != cudaSuccess) return error;
  // what the sort read is free
  uint64_t* finer = scratch.pairs.keys[sorted.keys == scratch.pairs.keys[0]];
  uint32_t* rows = scratch.pairs.values[sorted.values == scratch.pairs.values[1]];
  error =
      launch(split_cells, clouds.rows / kMany, kSplitThreads, 0, stream, xyz, sorted.keys, clouds.rows, finer, rows);
  if (error != cudaSuccess) return error;
  error = launch(pack, blocks_of(clouds.rows, kPackThreads), kPackThreads, 0, stream, xyz, sorted.values, clouds.rows,
                 levels, points, boxes);
  if (error != cudaSuccess || levels.count <= 2) return error;
  return launch(surround, 1, kPackThreads, 0, stream, levels, boxes);
}

}  // namespace pointops::gpu
