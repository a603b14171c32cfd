// Which queries of which patch a block computes.
#pragma once

#include "attention/attention_cuda.h"
#include "common/launch.cuh"

namespace sparseops::gpu {

using namespace common;

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr float kLog2E = 1.4426950408889634f;
// Results are scaled by a row's highest score so far, less often than that grows: once it is 2**8 times too small.
constexpr float kHeadroom = 8;

// Rows `begin` to `end` are the patch, `first` is the first query; none where first >= end.
struct PatchTile {
  int begin, end, first;
};

__device__ __forceinline__ int patch_start(const AttentionArguments& arguments, int patch) {
  return min(max(__ldg(arguments.cu_seqlens + patch), 0), arguments.num_rows);
}

// Patch p has the tiles from start(p) / kRows + p on up to those of patch p + 1: at least as many as it needs, and at
// most one more. So the number of tiles, and the place of each patch among them, follow without a sum over lengths.
template <int kRows>
unsigned num_tiles(const AttentionArguments& arguments) {
  return static_cast<unsigned>(arguments.num_rows / kRows + arguments.num_patches);
}

template <int kRows>
__device__ __forceinline__ PatchTile find_tile(const AttentionArguments& arguments) {
  const int tile = static_cast<int>(blockIdx.x), lane = static_cast<int>(threadIdx.x) % 32;
  int patch = 0, beyond = arguments.num_patches;
  while (beyond - patch > 1) {
    const int step = (beyond - patch + 31) / 32, probe = patch + lane * step;
    const bool reached = probe < beyond && patch_start(arguments, probe) / kRows + probe <= tile;
    patch += max(__popc(__ballot_sync(kAllLanes, reached)) - 1, 0) * step;
    beyond = min(patch + step, beyond);
  }
  const int begin = patch_start(arguments, patch), end = patch_start(arguments, patch + 1);
  const int number = tile - (begin / kRows + patch);
  return {begin, end, number < 0 ? end : begin + number * kRows};
}

}  // namespace sparseops::gpu
