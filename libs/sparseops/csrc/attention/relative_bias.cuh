// What the distance of two points adds to their score.
#pragma once

#include "attention/instructions.cuh"
#include "attention/patch_tile.cuh"

namespace sparseops::gpu {

// One head's table in shared memory, times log2(e), and the voxels of two tiles of kKeys keys behind it.
template <int kKeys>
struct RelativeBias {
  const AttentionArguments& arguments;
  float* table;

  static size_t shared_bytes(const AttentionArguments& arguments) {
    return (entries(arguments) + 6 * kKeys) * sizeof(float);
  }
  static __host__ __device__ int entries(const AttentionArguments& arguments) { return 3 * (2 * arguments.bound + 1); }

  __device__ __forceinline__ int* voxels(int stage) const {  // (3, kKeys)
    return reinterpret_cast<int*>(table + entries(arguments)) + stage * 3 * kKeys;
  }
  __device__ __forceinline__ void copy_table(int head, int thread, int num_threads) const {
    for (int i = thread; i < entries(arguments); i += num_threads) {
      table[i] = arguments.table[static_cast<int64_t>(i) * arguments.heads + head] * kLog2E;
    }
  }
  // Of the keys from row `first` on, `count` of them; asynchronously.
  __device__ __forceinline__ void copy_voxels(int stage, int first, int count, int thread, int num_threads) const {
    for (int i = thread; i < 3 * kKeys; i += num_threads) {
      const int key = i % kKeys;
      const bool present = key < count;
      const int64_t row = first + (present ? key : 0);
      copy4(voxels(stage) + i, arguments.voxels + row * 3 + i / kKeys, present);
    }
  }
  __device__ __forceinline__ float of(const int (&query)[3], int stage, int key) const {
    float sum = 0;
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      const int distance = query[axis] - voxels(stage)[axis * kKeys + key];
      const int clamped = min(max(distance, -arguments.bound), arguments.bound);
      sum += table[axis * (2 * arguments.bound + 1) + arguments.bound + clamped];
    }
    return sum;
  }
};

}  // namespace sparseops::gpu
