// Levels of coarser voxels on the CPU, on raw pointers.
#pragma once

#include <cstdint>

#include "levels/levels.h"

namespace sparseops {

// Of every cloud the number of voxels and the largest coordinate, `extents` (kMaxClouds + 1, 2), of coords (n, 4); its
// last row holds how many voxels have a coordinate below 0 or are of no cloud in [0, kMaxClouds).
void cloud_extents_cpu(const int64_t* coords, int64_t n, int32_t* extents);

// How many rows up to each are the first of a voxel of a level, counted on through all levels: ranks (num_levels, n).
void coarse_ranks_cpu(const ShiftedVoxels& voxels, int64_t n, int num_levels, int32_t* ranks);

// Of all levels, one after the other: voxels `coarse` (size, 4), `parents` (finer size) and `starts` (size + 1).
void coarse_rows_cpu(const ShiftedVoxels& voxels, const int32_t* ranks, int64_t n, const CoarseLevels& levels,
                     int64_t* coarse, int64_t* parents, int64_t* starts);

// The order of every level along each curve, (num_curves, size), level after level, and its inverse; `orders`
// (num_curves, n) are those of the finest level, in which the voxels of a coarser one are consecutive.
void coarse_orders_cpu(const int32_t* orders, int64_t num_curves, const int64_t* parents, const CoarseLevels& levels,
                       int32_t* coarse_orders, int32_t* coarse_inverses);

}  // namespace sparseops
