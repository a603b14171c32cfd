// Place of a point on the Hilbert curve through the bounds of its batch, the cloud above it: CPU and CUDA.
#pragma once

#include "search/numbers.h"

namespace pointops {

HOST_DEVICE_INLINE int bits_of(int64_t value) {
  int bits = 0;
  for (; value > 0; value >>= 1) ++bits;
  return bits;
}

// The bits of value (at most 20), two zeros between neighbours.
HOST_DEVICE_INLINE uint64_t spread(uint64_t value) {
  value = (value | value << 32) & 0x001f00000000ffffULL;
  value = (value | value << 16) & 0x001f0000ff0000ffULL;
  value = (value | value << 8) & 0x100f00f00f00f00fULL;
  value = (value | value << 4) & 0x10c30c30c30c30c3ULL;
  value = (value | value << 2) & 0x1249249249249249ULL;
  return value;
}

// A few points far away must not leave all others one cell: a sample tells where most points are.
constexpr int kSample = 256;
constexpr int kOutside = 16;  // of so many points of the sample, one lies below the middle and one above

// The row of a point of the sample: multiples of the golden ratio, even over any order of the points.
HOST_DEVICE_INLINE int64_t sampled_row(int number, int64_t points) {
  const uint32_t part = static_cast<uint32_t>(number) * 0x9e3779b9u;
  return static_cast<int64_t>(static_cast<uint64_t>(part) * static_cast<uint64_t>(points) >> 32);
}

// Draws bounds in to where the middle, low x, y, z, high x, y, z, would reach were it three times as long on all axes.
HOST_DEVICE_INLINE void draw_in(float* bounds, const float* middle) {
  float reach = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const float length = middle[3 + axis] - middle[axis];
    reach = length > reach ? length : reach;
  }
  if (reach == 0) return;
  for (int axis = 0; axis < 3; ++axis) {
    const float low = middle[axis] - reach, high = middle[3 + axis] + reach;
    bounds[axis] = low > bounds[axis] ? low : bounds[axis];
    bounds[3 + axis] = high < bounds[3 + axis] ? high : bounds[3 + axis];
  }
}

struct Curve {
  float low[3];
  float scale;
  int axis_bits;

  // how many low bits of a code can be set
  static int code_bits(int64_t clouds) { return 3 * bits_per_axis(clouds) + bits_of(clouds - 1); }
  HOST_DEVICE_INLINE static int bits_per_axis(int64_t clouds) {
    const int left = (63 - bits_of(clouds - 1)) / 3;
    return left < 20 ? left : 20;
  }

  // bounds: low x, y, z, high x, y, z of the finite coordinates; low > high where there are none
  HOST_DEVICE_INLINE Curve(const float* bounds, int64_t clouds) {
    axis_bits = bits_per_axis(clouds);
    float extent = 0;
    for (int axis = 0; axis < 3; ++axis) {
      low[axis] = bounds[axis];
      const float length = bounds[3 + axis] - bounds[axis];
      extent = length > extent ? length : extent;
    }
    const float cells = static_cast<float>(int64_t{1} << axis_bits);
    scale = extent > 0 && extent < 3e38f ? cells / extent : 0;
  }

  HOST_DEVICE_INLINE uint32_t cell(float value, int axis) const {
    const float place = (value - low[axis]) * scale;
    const int64_t last = (int64_t{1} << axis_bits) - 1;
    if (!(place > 0)) return 0;  // also where it is not a number
    return place < static_cast<float>(last) ? static_cast<uint32_t>(place) : static_cast<uint32_t>(last);
  }

  // By J. Skilling, Programming the Hilbert curve, 2004, without branches.
  HOST_DEVICE_INLINE uint64_t code(const float* point, int64_t cloud) const {
    uint32_t axes[3] = {cell(point[0], 0), cell(point[1], 1), cell(point[2], 2)};
    for (int bit = axis_bits - 1; bit > 0; --bit) {
      const uint32_t below = (1u << bit) - 1;
      for (int i = 0; i < 3; ++i) {
        const uint32_t inverts = 0u - (axes[i] >> bit & 1);  // all bits, else the lower bits change places with axis 0
        const uint32_t swapped = (axes[0] ^ axes[i]) & below & ~inverts;
        axes[0] ^= swapped | (below & inverts);
        if (i > 0) axes[i] ^= swapped;
      }
    }
    axes[1] ^= axes[0];
    axes[2] ^= axes[1];
    uint32_t parity = axes[2] >> 1;  // of the bits above each
    for (int step = 1; step < 32; step *= 2) parity ^= parity >> step;
    const uint64_t place = spread(axes[0] ^ parity) << 2 | spread(axes[1] ^ parity) << 1 | spread(axes[2] ^ parity);
    return static_cast<uint64_t>(cloud) << (3 * axis_bits) | place;
  }
};

}  // namespace pointops
