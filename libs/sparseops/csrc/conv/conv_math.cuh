// How a warp multiplies its part of a convolution's tile, one step of the inner dimension at a time.
#pragma once

#include "conv/ptx.cuh"

namespace sparseops::gpu {

// One step of the inner dimension: so many bytes of each row lie in shared memory. Which eighths of a tile's rows have
// a neighbour there is a bit for each, from the warp's first row on; the others are not multiplied where instructions
// are of no more rows than an eighth.
template <int kRowBytes_, int kEighthRows_>
struct Step {
  static constexpr int kRowBytes = kRowBytes_, kChunks = kRowBytes / 16, kEighthRows = kEighthRows_;
  static constexpr int kPatternBytes = 8 * kRowBytes;
  static_assert(kRowBytes == 64 || kRowBytes == 128);

  // Where a chunk of 16 bytes lies. Chunks trade places from row to row, so that those of eight consecutive rows lie in
  // different banks; the pattern repeats every eight rows, kPatternBytes.
  __device__ static int chunk_at(int row, int chunk) {
    return row * kRowBytes + ((chunk ^ (row / (128 / kRowBytes) & (kChunks - 1))) << 4);
  }

  // Whether any of kRows rows from first_row on may have a neighbour.
  template <int kRows>
  __device__ static bool any(unsigned eighths, int first_row) {
    constexpr int kBits = (kRows + kEighthRows - 1) / kEighthRows;
    return (eighths >> first_row / kEighthRows & ((1u << kBits) - 1)) != 0;
  }

  // The same bits, as the result of a vote: the compiler then knows that no branch by them divides a warp.
  __device__ static unsigned same_in_warp(unsigned eighths, int lane) {
    return __ballot_sync(0xffffffffu, lane < 8 && (eighths >> lane & 1) != 0);
  }
};

// A warp's part of the tile, kRows by kColumns, multiplied by tensor cores.
template <typename T, typename Step, int kRows, int kColumns>
struct TensorCores {
  using Element = T;
  static_assert(Step::kChunks == 4);
  float sums[kRows / 16][kColumns / 8][4] = {};

  __device__ void multiply(const char* rows, const char* columns, int lane, unsigned eighths) {
    eighths = Step::same_in_warp(eighths, lane);
    const int row_at = Step::chunk_at(lane & 15, lane >> 4);
    const int column_at = Step::chunk_at((lane & 7) + (lane >> 4 << 3), lane >> 3 & 1);
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // chunks 0 and 1, then 2 and 3
      uint32_t a[kRows / 16][4];
#pragma unroll
      for (int i = 0; i < kRows / 16; ++i) {
        const char* from = rows + i * 2 * Step::kPatternBytes + (row_at ^ half * 32);
        if (Step::template any<16>(eighths, i * 16)) load(a[i], from);
      }
#pragma unroll
      for (int j = 0; j < kColumns / 16; ++j) {
        uint32_t b[4];
        load(b, columns + j * 2 * Step::kPatternBytes + (column_at ^ half * 32));
#pragma unroll
        for (int i = 0; i < kRows / 16; ++i) {
          if (!Step::template any<16>(eighths, i * 16)) continue;
          multiply_add<T>(sums[i][2 * j], a[i], b[0], b[1]);
          multiply_add<T>(sums[i][2 * j + 1], a[i], b[2], b[3]);
        }
      }
    }
  }

  // Writes 16 rows, from row 16 * slice on, into a shared buffer.
  __device__ void write(int slice, float* buffer, int stride, int lane) const {
#pragma unroll
    for (int i = 0; i < kRows / 16; ++i) {
      if (i != slice) continue;
#pragma unroll
      for (int j = 0; j < kColumns / 8; ++j) {
        float* at = buffer + (lane >> 2) * stride + j * 8 + (lane & 3) * 2;
        *reinterpret_cast<float2*>(at) = make_float2(sums[i][j][0], sums[i][j][1]);
        *reinterpret_cast<float2*>(at + 8 * stride) = make_float2(sums[i][j][2], sums[i][j][3]);
      }
    }
  }

 private:
  __device__ static void load(uint32_t (&registers)[4], const char* shared) {
    load_matrices(registers, shared);
    if constexpr (sizeof(T) == 4) round_to_tf32(registers);
  }
};

// The same in float32 throughout: lane (m, n) of 8 by 4 holds rows m + 8 i and columns n + 4 j. Lanes that differ in
// the lowest bit share rows, in the next bit columns: their loads are then served together.
template <typename Step, int kRows, int kColumns>
struct FloatUnits {
  using Element = float;
  float sums[kRows / 8][kColumns / 4] = {};

  __device__ static int row_of(int lane) { return lane >> 1 & 7; }
  __device__ static int column_of(int lane) { return lane >> 4 << 1 | (lane & 1); }

  __device__ void multiply(const char* rows, const char* columns, int lane, unsigned eighths) {
    const int row_at = Step::chunk_at(row_of(lane), 0), column_at = Step::chunk_at(column_of(lane), 0);
    eighths = Step::same_in_warp(eighths, lane);
#pragma unroll 1  // one chunk's operands at a time in registers
    for (int chunk_bytes = 0; chunk_bytes < Step::kRowBytes; chunk_bytes += 16) {
      float4 b[kColumns / 4];
#pragma unroll
      for (int j = 0; j < kColumns / 4; ++j) {  // the pattern of chunks repeats every other j
        b[j] = load(columns + j * 4 * Step::kRowBytes + (column_at ^ chunk_bytes ^ j % 2 * (Step::kRowBytes / 2)));
      }
      float4 next = load_in_order(rows + (row_at ^ chunk_bytes));
#pragma unroll
      for (int i = 0; i < kRows / 8; ++i) {
        const float4 a = next;
        if (i + 1 < kRows / 8) next = load_in_order(rows + (i + 1) * Step::kPatternBytes + (row_at ^ chunk_bytes));
        if (!Step::template any<8>(eighths, i * 8)) continue;
#pragma unroll
        for (int j = 0; j < kColumns / 4; ++j) {
          float sum = sums[i][j];
          sum = fmaf(a.x, b[j].x, sum);
          sum = fmaf(a.y, b[j].y, sum);
          sum = fmaf(a.z, b[j].z, sum);
          sums[i][j] = fmaf(a.w, b[j].w, sum);
        }
      }
    }
  }

  __device__ void write(int slice, float* buffer, int stride, int lane) const {
#pragma unroll
    for (int i = 0; i < kRows / 8; ++i) {
      if (i >> 1 != slice) continue;
#pragma unroll
      for (int j = 0; j < kColumns / 4; ++j) {
        buffer[((i & 1) * 8 + row_of(lane)) * stride + j * 4 + column_of(lane)] = sums[i][j];
      }
    }
  }

 private:
  __device__ static float4 load(const char* shared) { return *reinterpret_cast<const float4*>(shared); }
};

}  // namespace sparseops::gpu
