// Levels of coarser voxels, the same arithmetic on CPU and GPU.
//
// The voxels of a level are such that those of a coarser one are consecutive. A row is the first of its coarser voxel,
// or not; one that is not the first at a level is not at any coarser level either.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace sparseops {

constexpr int64_t kMaxClouds = 512;  // as in reference_levels.py
constexpr int kMaxLevels = 16;

// A coarse level, and where it begins in arrays that hold all of them one after the other.
struct CoarseLevel {
  int64_t size;
  int64_t finer_size;
  int64_t begin;          // in coarse rows
  int64_t begin_parents;  // in rows of the finer levels
  int64_t begin_starts;
};

struct CoarseLevels {
  CoarseLevel at[kMaxLevels];
  int count;
};

// The coarse levels of n voxels; `sizes` (num_levels,), from fine to coarse.
inline CoarseLevels coarse_levels(int64_t n, const int64_t* sizes, int num_levels) {
  CoarseLevels levels{};
  levels.count = num_levels;
  CoarseLevel next{0, n, 0, 0, 0};
  for (int level = 0; level < num_levels; ++level) {
    next.size = sizes[level];
    levels.at[level] = next;
    next = {0, next.size, next.begin + next.size, next.begin_parents + next.finer_size,
            next.begin_starts + next.size + 1};
  }
  return levels;
}

// Voxels int64 (n, 4), and how often the edges of a level's are halved: `shifts` (levels, num_clouds), ascending.
struct ShiftedVoxels {
  const int64_t* coords;
  const int64_t* shifts;
  int64_t num_clouds;

  HOST_DEVICE_INLINE int shift(int level, int64_t cloud) const {
    const int64_t own = cloud < 0 ? 0 : cloud < num_clouds ? cloud : num_clouds - 1;
    return static_cast<int>(shifts[level * num_clouds + own] & 63);
  }
  // Bits in which a coordinate of a row differs from that of the row before it; all of them in another cloud.
  HOST_DEVICE_INLINE uint64_t differing(int64_t row) const {
    const int64_t* own = coords + 4 * row;
    if (row == 0 || own[0] != own[-4]) return ~uint64_t{0};
    return static_cast<uint64_t>((own[1] ^ own[-3]) | (own[2] ^ own[-2]) | (own[3] ^ own[-1]));
  }
};

HOST_DEVICE_INLINE int64_t within(int64_t place, int64_t size) {
  return place < 0 ? 0 : place < size ? place : size - 1;
}

// What a row of the finest level says of all coarser ones: `ranks` (levels, n) counts first rows through all levels.
HOST_DEVICE_INLINE void place_row(const ShiftedVoxels& voxels, const int32_t* ranks, const CoarseLevels& levels,
                                  int64_t n, int64_t row, int64_t* coarse, int64_t* parents, int64_t* starts) {
  int64_t finer = row;
  const int64_t* own = voxels.coords + 4 * row;
  for (int l = 0; l < levels.count; ++l) {
    const CoarseLevel& level = levels.at[l];
    const int32_t count = ranks[l * n + row];
    const int64_t rank = within(count - level.begin - 1, level.size);
    parents[level.begin_parents + finer] = rank;
    if (row == 0) starts[level.begin_starts + level.size] = level.finer_size;
    if (row > 0 && count == ranks[l * n + row - 1]) return;
    starts[level.begin_starts + rank] = finer;
    const int shift = voxels.shift(l, own[0]);
    int64_t* to = coarse + 4 * (level.begin + rank);
    to[0] = own[0];
    for (int axis = 1; axis < 4; ++axis) to[axis] = own[axis] >> shift;
    finer = rank;
  }
}

}  // namespace sparseops
