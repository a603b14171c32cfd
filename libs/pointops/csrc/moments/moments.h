// Moments of neighbours, the same on CPU and CUDA bit by bit.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace pointops {

constexpr int kMoments = 10;  // mean x, y, z; covariances xx, xy, xz, yy, yz, zz; lowest z

// m queries, whose first `used` neighbours of `listed` are rows of points (n, 3), -1 for none.
struct Neighbourhoods {
  const float* points;
  int64_t num_points;
  const float* queries;
  const int32_t* index;
  int64_t num_queries, listed, used;
};

// A product and a sum that are rounded one after the other, which a fused instruction would not do.
HOST_DEVICE_INLINE double plus_product(double sum, double a, double b) {
#ifdef __CUDA_ARCH__
  return __dadd_rn(sum, __dmul_rn(a, b));
#else
  return sum + a * b;
#endif
}

// Writes the moments of a query's neighbours, seen from it, to out[0], out[stride] …; zeros if it has none.
HOST_DEVICE_INLINE void write_moments(const Neighbourhoods& of, int64_t query, double* out, int64_t stride) {
  const float* centre = of.queries + 3 * query;
  double sums[9] = {}, lowest = 0;
  int count = 0;
  for (int64_t i = 0; i < of.used; ++i) {
    const int64_t row = of.index[query * of.listed + i];
    if (row < 0 || row >= of.num_points) continue;
    const float* point = of.points + 3 * row;
    const double x = static_cast<double>(point[0]) - static_cast<double>(centre[0]);
    const double y = static_cast<double>(point[1]) - static_cast<double>(centre[1]);
    const double z = static_cast<double>(point[2]) - static_cast<double>(centre[2]);
    sums[0] += x;
    sums[1] += y;
    sums[2] += z;
    sums[3] = plus_product(sums[3], x, x);
    sums[4] = plus_product(sums[4], x, y);
    sums[5] = plus_product(sums[5], x, z);
    sums[6] = plus_product(sums[6], y, y);
    sums[7] = plus_product(sums[7], y, z);
    sums[8] = plus_product(sums[8], z, z);
    lowest = count == 0 || z < lowest ? z : lowest;
    ++count;
  }
  const double divisor = count > 0 ? count : 1;
  for (double& sum : sums) sum /= divisor;
  sums[3] = plus_product(sums[3], -sums[0], sums[0]);
  sums[4] = plus_product(sums[4], -sums[0], sums[1]);
  sums[5] = plus_product(sums[5], -sums[0], sums[2]);
  sums[6] = plus_product(sums[6], -sums[1], sums[1]);
  sums[7] = plus_product(sums[7], -sums[1], sums[2]);
  sums[8] = plus_product(sums[8], -sums[2], sums[2]);
  for (int i = 0; i < 9; ++i) out[i * stride] = sums[i];
  out[9 * stride] = lowest;
}

}  // namespace pointops
