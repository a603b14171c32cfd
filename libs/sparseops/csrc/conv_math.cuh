// How a warp multiplies its part of a convolution's tile, one step of the inner dimension at a time.
#pragma once

#include "ptx.cuh"

namespace sparseops::gpu {

constexpr int kRowBytes = 64;  // of the inner dimension in one step
constexpr int kChunks = kRowBytes / 16;

// Where a chunk of 16 bytes lies in a shared tile. Chunks trade places from row to row, so that those of eight
// consecutive rows lie in different banks; the pattern repeats every eight rows, kPatternBytes.
__device__ __forceinline__ int chunk_at(int row, int chunk) {
  return row * kRowBytes + ((chunk ^ (row >> 1 & 3)) << 4);
}
constexpr int kPatternBytes = 8 * kRowBytes;

// A warp's part of the tile, kRows by kColumns, multiplied by tensor cores.
template <typename T, int kRows, int kColumns>
struct TensorCores {
  using Element = T;
  float sums[kRows / 16][kColumns / 8][4] = {};

  __device__ void multiply(const char* rows, const char* columns, int lane) {
    const int row_at = chunk_at(lane & 15, lane >> 4);
    const int column_at = chunk_at((lane & 7) + (lane >> 4 << 3), lane >> 3 & 1);
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // chunks 0 and 1, then 2 and 3
      uint32_t a[kRows / 16][4];
#pragma unroll
      for (int i = 0; i < kRows / 16; ++i) load(a[i], rows + i * 2 * kPatternBytes + (row_at ^ half * 32));
#pragma unroll
      for (int j = 0; j < kColumns / 16; ++j) {
        uint32_t b[4];
        load(b, columns + j * 2 * kPatternBytes + (column_at ^ half * 32));
#pragma unroll
        for (int i = 0; i < kRows / 16; ++i) {
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

// The same in float32 throughout: lane (m, n) of 8 by 4 holds rows m + 8 i and columns n + 4 j. Lanes that differ in the
// lowest bit share rows, in the next bit columns: their loads are then served together.
template <int kRows, int kColumns>
struct FloatUnits {
  using Element = float;
  float sums[kRows / 8][kColumns / 4] = {};

  __device__ static int row_of(int lane) { return lane >> 1 & 7; }
  __device__ static int column_of(int lane) { return lane >> 4 << 1 | (lane & 1); }

  __device__ void multiply(const char* rows, const char* columns, int lane) {
    const int row = row_of(lane), column = column_of(lane);
#pragma unroll 1  // one chunk's operands at a time in registers
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      float4 a[kRows / 8];
#pragma unroll
      for (int i = 0; i < kRows / 8; ++i) {
        a[i] = *reinterpret_cast<const float4*>(rows + i * kPatternBytes + chunk_at(row, chunk));
      }
#pragma unroll
      for (int j = 0; j < kColumns / 4; ++j) {
        const float4 b = *reinterpret_cast<const float4*>(columns + chunk_at(j * 4 + column, chunk));
#pragma unroll
        for (int i = 0; i < kRows / 8; ++i) {
          float sum = sums[i][j];
          sum = fmaf(a[i].x, b.x, sum);
          sum = fmaf(a[i].y, b.y, sum);
          sum = fmaf(a[i].z, b.z, sum);
          sums[i][j] = fmaf(a[i].w, b.w, sum);
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
};

}  // namespace sparseops::gpu
