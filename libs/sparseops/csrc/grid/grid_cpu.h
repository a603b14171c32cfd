// Points to the voxels of a grid on the CPU, on raw pointers.
#pragma once

#include <cstdint>

#include "grid/grid.h"

namespace sparseops {

// What grid_sample gives of n points in V voxels; see grid.py.
struct GridOutputs {
  int64_t* grid_coord;  // (n, 3)
  int64_t* lowest;      // (3)
  int64_t* order;       // (n)
  int64_t* offsets;     // (V + 1), room for n + 1
  int64_t* inverse;     // (n)
};

// The number of voxels of coord (n, 3), 0 < n < 2**32, or -1 where a coordinate is no number or 2**62 cells away.
template <typename Coord>
int64_t grid_sample_cpu(const Coord* coord, int64_t n, const double* grid_size, Hash hash, const GridOutputs& out);

}  // namespace sparseops
