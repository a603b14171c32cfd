// A tile of a sparse convolution in half precision by the tensor cores of compute capability 9.0.
//
// As conv_tile.cuh, an implicit matrix product, a tile of rows by columns a block, without the steps none of its voxels
// has; but by warps with different parts. Producers fill a ring of shared buffers, a step of 128 bytes of the inner
// dimension each: they gather features, and have the bulk engine copy weights. Consumers, groups of four warps with 64
// rows each, multiply; a group leaves out the steps that none of its own 64 voxels has. Sums are in the order of the
// steps.
#pragma once

#include <cuda.h>

#include "common/launch.cuh"
#include "conv/conv_store.cuh"
#include "conv/hopper.cuh"

namespace sparseops::gpu {

using namespace common;

namespace {

constexpr int kStepBytes = 128;  // of the inner dimension
constexpr int kStepElements = kStepBytes / 2;
constexpr int kGroupRows = 64;
constexpr int kMaxOffsets = 32;
constexpr int kAlignment = 1024;  // of the buffers, for the swizzle

// Sizes of a tile, and where its parts lie in shared memory. Producers are warps, which share the rows.
template <typename T, int kColumns_, int kGroups_, int kStages_, int kProducers_, int kBlocksAtOnce_>
struct Tile {
  using Element = T;
  static constexpr int kColumns = kColumns_, kGroups = kGroups_, kStages = kStages_;
  static constexpr int kProducers = kProducers_, kBlocksAtOnce = kBlocksAtOnce_;
  static constexpr int kRows = kGroups * kGroupRows, kConsumers = kGroups * 4, kWarps = kConsumers + kProducers;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kRowsBytes = kRows * kStepBytes, kStageBytes = kRowsBytes + kColumns * kStepBytes;
  static constexpr int kBufferColumns = kColumns < 128 ? kColumns : 128;  // of results written at once
  static constexpr int kBufferStride = kBufferColumns + 8;  // floats; rows of a warp's results, no two in a bank
  static_assert(kProducers % 2 == 0 && kGroupRows % (4 * kProducers) == 0);  // a lane's rows are alike modulo 8
  static_assert(kConsumers * 16 * kBufferStride * 4 <= kStages * kStageBytes);

  static constexpr int kTableAt = kStages * kStageBytes;  // int (num_offsets, kRows), then int (steps)
  static size_t shared_bytes(int num_offsets, int num_steps) {
    return kAlignment + kTableAt + (static_cast<size_t>(num_offsets) * kRows + num_steps) * 4;
  }
};

__host__ __device__ inline int steps_of(const ConvArguments& arguments) {
  return (arguments.num_offsets * arguments.in_channels + kStepElements - 1) / kStepElements;
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

constexpr unsigned kWarp = 0xffffffffu;
constexpr int kStepChunks = kStepBytes / 16;
constexpr int kStepBits = 16;  // of an entry in the list of steps; the bits above say which groups have it

// What the warps of a block share beside the buffers.
template <typename Shape>
struct Shared {
  uint64_t full[Shape::kStages], empty[Shape::kStages];
  unsigned present[Shape::kGroups];  // offsets that any row of a group has
  int num_steps;
  int out_rows[Shape::kRows];
};

// The neighbours of the tile's rows, -1 for none, and which offsets any row of a group has.
template <typename Shape>
__device__ void read_table(const ConvArguments& arguments, int64_t first_row, int* table, Shared<Shape>& shared,
                           int warp, int lane) {
  constexpr int kParts = Shape::kRows / 32, kAtOnce = 8;
  const int num_parts = arguments.num_offsets * kParts;
  for (int base = warp; base < num_parts; base += Shape::kWarps * kAtOnce) {
    int neighbours[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int part = base + i * Shape::kWarps, offset = part / kParts;
      const int64_t row = first_row + part % kParts * 32 + lane;
      const bool there = part < num_parts && row < arguments.num_out;
      neighbours[i] = !there ? -1
                      : arguments.forwards == nullptr
                          ? static_cast<int>(row)
                          : __ldg(arguments.forwards + static_cast<int64_t>(offset) * arguments.num_out + row);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int part = base + i * Shape::kWarps;
      if (part >= num_parts) break;
      const bool there = static_cast<unsigned>(neighbours[i]) < static_cast<unsigned>(arguments.num_in);
      table[part * 32 + lane] = there ? neighbours[i] : -1;
      if (__any_sync(kWarp, there) && lane == 0) {
        atomicOr(&shared.present[part % kParts / (kGroupRows / 32)], 1u << part / kParts);
      }
    }
  }
}

// A warp lists the steps that any group has, ascending.
template <typename Shape>
__device__ void list_steps(const ConvArguments& arguments, int* steps, Shared<Shape>& shared, int lane) {
  const int num_steps = steps_of(arguments);
  int count = 0;
  for (int base = 0; base < num_steps; base += 32) {
    const int step = base + lane;
    int groups = 0;
    if (step < num_steps) {
      const int first = step * kStepElements / arguments.in_channels;
      const int last =
          min((step * kStepElements + kStepElements - 1) / arguments.in_channels, arguments.num_offsets - 1);
      const unsigned offsets = (2u << last) - (1u << first);
#pragma unroll
      for (int group = 0; group < Shape::kGroups; ++group) {
        groups |= static_cast<int>((shared.present[group] & offsets) != 0) << group;
      }
    }
    const unsigned votes = __ballot_sync(kWarp, groups != 0);
    if (groups != 0) steps[count + __popc(votes & ((1u << lane) - 1))] = step | groups << kStepBits;
    count += __popc(votes);
  }
  if (lane == 0) shared.num_steps = count;
}

// A producer, one warp of several, fills its share of the rows of every buffer, and the first has the weights copied.
// It waits for nothing but room: whoever waits for a full buffer waits for its copies.
template <typename Shape>
__device__ void produce(const ConvArguments& arguments, const CUtensorMap& weight, int first_column, char* stages,
                        const int* table, const int* steps, Shared<Shape>& shared, int producer, int lane) {
  constexpr int kRowsApart = 4 * Shape::kProducers, kCopies = Shape::kRows / kRowsApart;  // of one lane
  const int per_offset = arguments.in_channels / 8, num_chunks = arguments.num_offsets * per_offset;
  const unsigned feature_bytes = static_cast<unsigned>(arguments.in_channels) * 2;  // of a voxel
  const unsigned reciprocal = per_offset == 1 ? 0 : 0xffffffffu / per_offset + 1;   // times 2^32, rounded up
  const int own_chunk = lane % kStepChunks, own_row = producer * 4 + lane / kStepChunks;
  const int own_at = own_row * kStepBytes + ((own_chunk ^ own_row % 8) << 4);
  const int count = shared.num_steps;
  int stage = 0, parity = 1;
  for (int index = 0; index < count; ++index) {
    const int entry = steps[index], step = entry & ((1 << kStepBits) - 1);
    const int inner = step * kStepChunks + own_chunk;
    const int offset = per_offset == 1 ? inner : static_cast<int>(__umulhi(inner, reciprocal));
    const char* features = static_cast<const char*>(arguments.features) + (inner - offset * per_offset) * 16;
    int neighbours[kCopies];
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      neighbours[i] = inner < num_chunks ? table[offset * Shape::kRows + own_row + i * kRowsApart] : -1;
    }
    char* rows = stages + stage * Shape::kStageBytes;
    barrier_wait(shared.empty[stage], parity);
    if (producer == 0 && lane == 0) {
      barrier_arrive(shared.full[stage], Shape::kColumns * kStepBytes);
      copy_box(rows + Shape::kRowsBytes, weight, first_column, step * kStepElements, shared.full[stage]);
    }
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      if ((entry >> (kStepBits + i * kRowsApart / kGroupRows) & 1) == 0) continue;
      const auto neighbour = static_cast<unsigned>(max(neighbours[i], 0));
      copy16(rows + own_at + i * kRowsApart * kStepBytes, features + static_cast<uint64_t>(neighbour) * feature_bytes,
             neighbours[i] >= 0);
    }
    arrive_after_copies(shared.full[stage]);
    if (++stage == Shape::kStages) stage = 0, parity ^= 1;
  }
}

// A consumer group multiplies its 64 rows.
template <typename Shape>
__device__ void consume(const ConvArguments& arguments, int first_column, char* stages, const int* steps,
                        Shared<Shape>& shared, int warp, int lane) {
  using T = typename Shape::Element;
  const int group = warp / 4, count = shared.num_steps;
  float sums[Shape::kColumns / 2] = {};
  int stage = 0, parity = 0;
  for (int index = 0; index < count; ++index) {
    barrier_wait(shared.full[stage], parity);
    if ((steps[index] >> (kStepBits + group) & 1) != 0) {
      see_copies();
      const char* rows = stages + stage * Shape::kStageBytes;
      const uint64_t a = swizzled_matrix(rows + group * kGroupRows * kStepBytes);
      const uint64_t b = swizzled_matrix(rows + Shape::kRowsBytes);
      products_begin();
#pragma unroll
      for (int part = 0; part < kStepElements / 16; ++part) {  // 32 bytes further, in units of 16
        multiply_add_group<T, Shape::kColumns>(sums, a + part * 2, b + part * 2);
      }
      products_commit();
      products_wait<0>();  // meanwhile the other groups multiply
    }
    if (lane == 0) barrier_arrive(shared.empty[stage]);
    if (++stage == Shape::kStages) stage = 0, parity ^= 1;
  }
  sync_some<1, Shape::kConsumers * 32>();  // nobody reads the stages any more

  float* buffer = reinterpret_cast<float*>(stages) + warp * 16 * Shape::kBufferStride;
#pragma unroll
  for (int part = 0; part < Shape::kColumns / Shape::kBufferColumns; ++part) {
#pragma unroll
    for (int j = 0; j < Shape::kBufferColumns / 8; ++j) {
      const float* from = sums + part * Shape::kBufferColumns / 2 + j * 4;
      float* at = buffer + (lane >> 2) * Shape::kBufferStride + j * 8 + (lane & 3) * 2;
      *reinterpret_cast<float2*>(at) = make_float2(from[0], from[1]);
      *reinterpret_cast<float2*>(at + 8 * Shape::kBufferStride) = make_float2(from[2], from[3]);
    }
    __syncwarp();
    store_rows<T, Shape::kBufferColumns, Shape::kBufferStride>(arguments, buffer, shared.out_rows + warp * 16,
                                                               first_column + part * Shape::kBufferColumns, lane);
    __syncwarp();
  }
}

#endif

// Without the instructions of sm_90a an empty kernel, which has no static shared memory.
template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocksAtOnce)
    convolve_tile(const ConvArguments arguments, const __grid_constant__ CUtensorMap weight) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  __shared__ Shared<Shape> shared;
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const int tiles_across = (arguments.out_channels + Shape::kColumns - 1) / Shape::kColumns;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x / tiles_across) * Shape::kRows;
  const int first_column = static_cast<int>(blockIdx.x % tiles_across) * Shape::kColumns;
  char* stages = dynamic_shared();
  stages += (kAlignment - shared_address(stages) % kAlignment) % kAlignment;
  int* table = reinterpret_cast<int*>(stages + Shape::kTableAt);
  int* steps = table + arguments.num_offsets * Shape::kRows;

  if (thread < Shape::kGroups) shared.present[thread] = 0;
  for (int row = thread; row < Shape::kRows; row += Shape::kThreads) {
    const int64_t column = first_row + row;
    shared.out_rows[row] = column >= arguments.num_out  ? -1
                           : arguments.order == nullptr ? static_cast<int>(column)
                                                        : __ldg(arguments.order + column);
  }
  if (thread == 0) {
    for (int stage = 0; stage < Shape::kStages; ++stage) {
      barrier_init(shared.full[stage], Shape::kProducers * 32 + 1);
      barrier_init(shared.empty[stage], Shape::kConsumers);
    }
    barriers_publish();
    prefetch_box(weight);
  }
  __syncthreads();
  read_table(arguments, first_row, table, shared, warp, lane);
  __syncthreads();
  if (warp == 0) list_steps(arguments, steps, shared, lane);
  __syncthreads();

  if (warp >= Shape::kConsumers) {
    produce(arguments, weight, first_column, stages, table, steps, shared, warp - Shape::kConsumers, lane);
  } else {
    consume(arguments, first_column, stages, steps, shared, warp, lane);
  }
#endif
}

}  // namespace
}  // namespace sparseops::gpu
