// The uniform grid behind the ball query: points of a cloud that lie closer than the radius are in adjacent cells.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/host_device.h"

namespace pointgroup_ops {

// neighbours kept of a point, those with the lowest indices
constexpr int32_t kMaxNeighbours = 1000;

// keys of cells along z that follow each other are neighbours; x and y each shift by one of these rows
constexpr int kRows = 9;

// Key of a point without a cell (NaN or infinite); it sorts behind all others.
constexpr int64_t kNoCell = INT64_MAX;

struct Grid {
  double origin[3];
  double cells_per_unit;
  int bits;  // of a cell's index along an axis

  // Key of the cell of a point: cloud, x, y, z from high bits to low. Indices along an axis lie in [1, 2^bits - 2], so
  // that the key of a neighbouring cell never runs into another cloud or axis.
  HOST_DEVICE_INLINE int64_t key(int64_t cloud, const float* point) const {
    int64_t key = cloud;
    for (int axis = 0; axis < 3; ++axis) {
      const double value = point[axis];
      if (!(value - value == 0)) return kNoCell;
      const int64_t cell = 1 + static_cast<int64_t>((value - origin[axis]) * cells_per_unit);
      key = (key << bits) | cell;
    }
    return key;
  }

  // First key of row 0 … 8 around the cell ``key``; the row is this key and the next two.
  HOST_DEVICE_INLINE int64_t row(int64_t key, int row) const {
    const int64_t x = row / 3 - 1, y = row % 3 - 1;
    return key + x * (int64_t{1} << 2 * bits) + y * (int64_t{1} << bits) - 1;
  }
};

// Bits that an axis gets beside those of the cloud's number: at most 20, so that a float64 tells cells apart safely.
inline int bits_per_axis(int64_t num_clouds) {
  int cloud_bits = 0;
  while (int64_t{1} << cloud_bits < num_clouds) ++cloud_bits;
  const int bits = (62 - cloud_bits) / 3;
  return bits < 20 ? bits : 20;
}

// Grid over finite points within [low, high]. Differences and squares in float32 round monotonically, so a squared
// distance below the squared radius means less than the radius along each axis; the millionth more covers the rounding
// of the division. Where the extent does not fit into 2^bits cells they are larger than the radius.
HOST_DEVICE_INLINE Grid make_grid(const float* low, const float* high, float radius, int bits) {
  Grid grid;
  double extent = 0;
  for (int axis = 0; axis < 3; ++axis) {
    grid.origin[axis] = low[axis];
    const double length = static_cast<double>(high[axis]) - low[axis];
    if (length > extent) extent = length;
  }
  const double smallest = radius * 1.000001;
  const double coarsest = extent / static_cast<double>((int64_t{1} << bits) - 4);
  grid.cells_per_unit = 1.0 / (smallest > coarsest ? smallest : coarsest);
  grid.bits = bits;
  return grid;
}

// Strict, in float32 without fused multiply-add on every machine.
HOST_DEVICE_INLINE bool is_near(float ax, float ay, float az, float bx, float by, float bz, float squared_radius) {
#ifdef __CUDA_ARCH__
  const float x = __fsub_rn(ax, bx), y = __fsub_rn(ay, by), z = __fsub_rn(az, bz);
  return __fadd_rn(__fadd_rn(__fmul_rn(x, x), __fmul_rn(y, y)), __fmul_rn(z, z)) < squared_radius;
#else
  const float x = ax - bx, y = ay - by, z = az - bz;
  return x * x + y * y + z * z < squared_radius;
#endif
}

}  // namespace pointgroup_ops
