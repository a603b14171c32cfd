// Points to the voxels of a grid: the arithmetic that CPU and GPU have in common.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/host_device.h"

namespace sparseops {

// Keys that voxels are ordered and told apart by, by the numbers that the public function passes.
enum Hash : int { kFnv = 0, kRavel = 1 };

constexpr double kCellLimit = 4611686018427387904.0;  // 2^62: differences of cells are int64

// The cell of a coordinate on one axis, divided in double precision; false where it is none.
HOST_DEVICE_INLINE bool cell_of(double coord, double grid_size, int64_t* cell) {
  const double place = floor(coord / grid_size);
  if (!(place > -kCellLimit && place < kCellLimit)) return false;  // not a number is neither
  *cell = static_cast<int64_t>(place);
  return true;
}

// Cells from 0 on to keys. FNV-1 over whole coordinates, or the place in a box of `height` by `depth` along y and z;
// both wrap around at 2^64.
HOST_DEVICE_INLINE uint64_t key_of(Hash hash, uint64_t x, uint64_t y, uint64_t z, uint64_t height, uint64_t depth) {
  if (hash == kRavel) return (x * height + y) * depth + z;
  constexpr uint64_t kOffset = 14695981039346656037ull, kPrime = 1099511628211ull;
  return ((kOffset * kPrime ^ x) * kPrime ^ y) * kPrime ^ z;
}

}  // namespace sparseops
