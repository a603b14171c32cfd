// A tile of a sparse convolution as an implicit matrix product: rows are output voxels, the inner dimension runs over
// offsets and input channels, columns are output channels.
//
// A block computes a tile of rows by columns. Step by step, 64 or 128 bytes of the inner dimension at a time, it
// gathers the neighbours' features (zeros where there is none) and the weights into a ring of shared buffers, ahead of
// the multiplication. Steps whose offsets none of the tile's voxels has are left out; in the others, eighths of the
// tile none of whose voxels has them are not multiplied. Each output is the sum of its own products in a fixed order,
// whatever tile it lies in, so results repeat bit by bit.
#pragma once

#include "common/launch.cuh"
#include "conv/conv_math.cuh"
#include "conv/conv_store.cuh"
#include "conv/ptx.cuh"

namespace sparseops::gpu {

using namespace common;

namespace {

constexpr unsigned kWarp = 0xffffffffu;
constexpr int kStepBits = 24;  // of a step's number, the eighths of rows are above
constexpr uint32_t kStepMask = (1u << kStepBits) - 1;
static_assert(kMaxInChannels / 16 * kMaxKernelOffsets < 1 << kStepBits);

// Sizes of a tile, and where its parts lie in shared memory.
template <int kRows_, int kColumns_, int kWarpsDown_, int kWarpsAcross_, int kBlocksAtOnce_, int kRowBytes_ = 64,
          int kStages_ = 4>
struct Tile : Step<kRowBytes_, kRows_ / 8> {
  using Step = gpu::Step<kRowBytes_, kRows_ / 8>;
  using Step::kChunks, Step::kRowBytes;
  static constexpr int kStages = kStages_;
  static constexpr int kRows = kRows_, kColumns = kColumns_;
  static constexpr int kWarpsDown = kWarpsDown_, kWarpsAcross = kWarpsAcross_;
  static constexpr int kWarps = kWarpsDown * kWarpsAcross, kThreads = kWarps * 32;
  static constexpr int kWarpRows = kRows / kWarpsDown, kWarpColumns = kColumns / kWarpsAcross;
  static constexpr int kBlocksAtOnce = kBlocksAtOnce_;  // on a multiprocessor, which bounds their registers
  static constexpr int kStageBytes = (kRows + kColumns) * kRowBytes;
  static constexpr int kBufferStride = kWarpColumns + 8;  // floats; rows of a warp's results, no two in a bank
  static constexpr int kRowsAtOnce = kThreads / kChunks;  // that all threads copy together
  static_assert(kWarpRows % 16 == 0 && kWarpColumns % 16 == 0);
  static_assert(kRows % kRowsAtOnce == 0 && kColumns % kRowsAtOnce == 0 && kRowsAtOnce % 8 == 0);
  static_assert(kWarps * 16 * kBufferStride * 4 <= kStages * kStageBytes);

  static constexpr int kOutRowsAt = kStages * kStageBytes;    // int (kRows)
  static constexpr int kNumStepsAt = kOutRowsAt + kRows * 4;  // int
  static constexpr int kStepsAt = kNumStepsAt + 16;           // uint32 (steps + kStages + 1), then uint8 (num_offsets)

  __host__ __device__ static int steps_of(int num_chunks) { return (num_chunks + kChunks - 1) / kChunks; }
  static size_t shared_bytes(int num_offsets, int num_chunks) {
    const int num_steps = steps_of(num_chunks);
    return kStepsAt + static_cast<size_t>(num_steps + kStages + 1) * 4 + num_offsets;
  }
};

// 16-byte chunks of the inner dimension.
template <typename T>
__host__ __device__ int chunks_per_offset(const ConvArguments& arguments) {
  return arguments.in_channels / static_cast<int>(16 / sizeof(T));
}

template <typename Shape, typename Math>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocksAtOnce) convolve_tile(const ConvArguments arguments) {
  using T = typename Math::Element;
  constexpr int kRowBytes = Shape::kRowBytes, kChunks = Shape::kChunks, kStages = Shape::kStages;
  constexpr int kCopiesOfRows = Shape::kRows / Shape::kRowsAtOnce;
  constexpr int kCopiesOfColumns = Shape::kColumns / Shape::kRowsAtOnce;
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const int num_out = arguments.num_out, num_offsets = arguments.num_offsets;
  const int per_offset = chunks_per_offset<T>(arguments);
  const int num_chunks = num_offsets * per_offset, max_steps = Shape::steps_of(num_chunks);
  const int tiles_across = (arguments.out_channels + Shape::kColumns - 1) / Shape::kColumns;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x / tiles_across) * Shape::kRows;
  const int first_column = static_cast<int>(blockIdx.x % tiles_across) * Shape::kColumns;
  const bool consecutive = arguments.forwards == nullptr;

  char* shared = dynamic_shared();
  int* out_rows = reinterpret_cast<int*>(shared + Shape::kOutRowsAt);
  int& num_steps = *reinterpret_cast<int*>(shared + Shape::kNumStepsAt);
  // steps that are taken, below the bits of the eighths of the rows that have something there
  uint32_t* steps = reinterpret_cast<uint32_t*>(shared + Shape::kStepsAt);
  uint8_t* present = reinterpret_cast<uint8_t*>(steps + max_steps + kStages + 1);

  // which rows are written, and which eighths of them have an offset: four lanes look at each
  for (int row = thread; row < Shape::kRows; row += Shape::kThreads) {
    const int64_t column = first_row + row;
    out_rows[row] = column >= num_out            ? -1
                    : arguments.order == nullptr ? static_cast<int>(column)
                                                 : __ldg(arguments.order + column);
  }
  constexpr int kAtOnce = 8;  // offsets, whose loads are all under way
  for (int base = warp; base < num_offsets; base += Shape::kWarps * kAtOnce) {
    bool any[kAtOnce] = {};
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int offset = base + i * Shape::kWarps;
      const int* neighbours = arguments.forwards + static_cast<int64_t>(offset) * num_out;
#pragma unroll
      for (int j = 0; j < Shape::kRows / 32; ++j) {
        const int64_t row = first_row + lane * (Shape::kRows / 32) + j;
        if (offset < num_offsets && row < num_out) any[i] |= consecutive || __ldg(neighbours + row) >= 0;
      }
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int offset = base + i * Shape::kWarps;
      const unsigned lanes = __ballot_sync(kWarp, any[i]);
      const unsigned eighths = __ballot_sync(kWarp, lane < 8 && (lanes >> lane * 4 & 15) != 0);
      if (lane == 0 && offset < num_offsets) present[offset] = static_cast<uint8_t>(eighths);
    }
  }
  __syncthreads();
  // the steps that have any, in ascending order, then some beyond the last, of absent neighbours and weights
  if (warp == 0) {
    int count = 0;
    for (int base = 0; base < max_steps; base += 32) {
      const int step = base + lane;
      unsigned eighths = 0;
      if (step < max_steps) {
        const int last = (min((step + 1) * kChunks, num_chunks) - 1) / per_offset;
        for (int offset = step * kChunks / per_offset; offset <= last; ++offset) {
          eighths |= present[offset];
        }
      }
      const unsigned votes = __ballot_sync(kWarp, eighths != 0);
      if (eighths != 0) steps[count + __popc(votes & ((1u << lane) - 1))] = step | eighths << kStepBits;
      count += __popc(votes);
    }
    if (lane <= kStages) steps[count + lane] = max_steps;
    if (lane == 0) num_steps = count;
  }
  __syncthreads();
  const int count = num_steps;

  // each thread copies one chunk of some rows and columns; the rows' neighbours are looked up a step ahead
  const int own_chunk = thread % kChunks, own_row = thread / kChunks, own_at = Shape::chunk_at(own_row, own_chunk);
  const char* features = static_cast<const char*>(arguments.features);
  const unsigned feature_bytes = per_offset * 16;
  const int64_t weight_bytes = static_cast<int64_t>(num_chunks) * 16;  // of an output channel
  const char* weight = static_cast<const char*>(arguments.weight) + (first_column + own_row) * weight_bytes;
  const int* forwards = arguments.forwards + first_row + own_row;
  const int rows_left = static_cast<int>(min(num_out - first_row, static_cast<int64_t>(Shape::kRows))) - own_row;
  const int columns_left = arguments.out_channels - first_column - own_row;
  const unsigned reciprocal = per_offset == 1 ? 0 : 0xffffffffu / per_offset + 1;  // times 2^32, rounded up
  int inner = 0, channel = 0;  // chunks of the inner dimension and of a feature, of the step looked up
  int neighbours[kCopiesOfRows];
  uint32_t coming = steps[0];  // that is looked up next
  auto look_up = [&](int index) {
    inner = static_cast<int>(coming & kStepMask) * kChunks + own_chunk;
    coming = steps[index + 1];
    const int offset = per_offset == 1 ? inner : static_cast<int>(__umulhi(inner, reciprocal));
    channel = inner - offset * per_offset;
    const int* column = forwards + static_cast<int64_t>(offset) * num_out;
#pragma unroll
    for (int i = 0; i < kCopiesOfRows; ++i) {
      const bool there = inner < num_chunks && i * Shape::kRowsAtOnce < rows_left;
      const int row = static_cast<int>(first_row) + own_row + i * Shape::kRowsAtOnce;
      neighbours[i] = !there ? -1 : consecutive ? row : __ldg(column + i * Shape::kRowsAtOnce);
    }
  };
  auto copy = [&](char* stage) {
#pragma unroll
    for (int i = 0; i < kCopiesOfRows; ++i) {
      const bool there = static_cast<unsigned>(neighbours[i]) < static_cast<unsigned>(arguments.num_in);
      const uint64_t row = static_cast<uint64_t>(there ? neighbours[i] : 0) * feature_bytes;
      copy16(stage + own_at + i * Shape::kRowsAtOnce * kRowBytes, features + row + channel * 16, there);
    }
#pragma unroll
    for (int i = 0; i < kCopiesOfColumns; ++i) {
      const bool there = inner < num_chunks && i * Shape::kRowsAtOnce < columns_left;
      const char* from = weight + i * Shape::kRowsAtOnce * weight_bytes + static_cast<int64_t>(inner) * 16;
      copy16(stage + own_at + (Shape::kRows + i * Shape::kRowsAtOnce) * kRowBytes, from, there);
    }
  };
  int ahead = 0;
  auto copy_next = [&] {
    if (ahead < count) copy(shared + ahead % kStages * Shape::kStageBytes);
    look_up(
        ++ahead);  // unconditionally: under a condition ptxas (12.4 and 13.0) adds the increment twice in some tiles
    copies_commit();
  };

  const int warp_row = warp / Shape::kWarpsAcross * Shape::kWarpRows;
  const int warp_column = warp % Shape::kWarpsAcross * Shape::kWarpColumns;
  Math math;
  uint32_t step = steps[0];  // that is multiplied next
  look_up(0);
  for (int stage = 0; stage < kStages - 1; ++stage) copy_next();
  for (int index = 0; index < count; ++index) {
    copies_wait<kStages - 2>();
    __syncthreads();  // this step's copies are there, and nobody reads the buffer of the step before any more
    copy_next();
    char* stage = shared + index % kStages * Shape::kStageBytes;
    const uint32_t eighths = step >> (kStepBits + warp_row / Shape::kEighthRows);
    step = steps[index + 1];
    math.multiply(stage + warp_row * kRowBytes, stage + (Shape::kRows + warp_column) * kRowBytes, lane, eighths);
  }
  copies_wait<0>();
  __syncthreads();

  // 16 rows at a time through the warp's own buffer, for stores of 16 bytes
  float* buffer = reinterpret_cast<float*>(shared) + warp * 16 * Shape::kBufferStride;
#pragma unroll
  for (int slice = 0; slice < Shape::kWarpRows / 16; ++slice) {
    math.write(slice, buffer, Shape::kBufferStride, lane);
    __syncwarp();
    store_rows<T, Shape::kWarpColumns, Shape::kBufferStride>(arguments, buffer, out_rows + warp_row + slice * 16,
                                                             first_column + warp_column, lane);
    __syncwarp();
  }
}

}  // namespace
}  // namespace sparseops::gpu
