// Space-filling curves in three dimensions, the same arithmetic on CPU and GPU.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace sparseops {

constexpr int kMaxDepth = 16;

// Curves by number, as the public function passes them. Odd curves exchange x and y first.
enum Curve : int { kZ = 0, kZTrans = 1, kHilbert = 2, kHilbertTrans = 3 };
constexpr int kNumCurves = 4;

// Two zero bits before each of the 16 low bits of v.
HOST_DEVICE_INLINE uint64_t spread(uint32_t v) {
  uint64_t s = v & 0xffffu;
  s = (s | s << 16) & 0x0000ff0000ffull;
  s = (s | s << 8) & 0x00f00f00f00full;
  s = (s | s << 4) & 0x0c30c30c30c3ull;
  return (s | s << 2) & 0x249249249249ull;
}

// Bits of x, y, z by turns, x the highest of each three.
HOST_DEVICE_INLINE uint64_t interleave(uint32_t x, uint32_t y, uint32_t z) {
  return spread(x) << 2 | spread(y) << 1 | spread(z);
}

// One level of the Hilbert transform of J. Skilling, "Programming the Hilbert curve", AIP Conference Proceedings 707
// (2004): the bit of each axis at this level inverts the lower bits of x or exchanges them with the axis' own.
// `level` is the bit's index, `lower` the mask of the bits below it (0 leaves the point as it is).
HOST_DEVICE_INLINE void hilbert_level(uint32_t& x, uint32_t& y, uint32_t& z, int level, uint32_t lower) {
  x ^= lower & (0u - (x >> level & 1u));
  uint32_t inverts = 0u - (y >> level & 1u);
  uint32_t differs = (x ^ y) & lower & ~inverts;
  y ^= differs;
  x ^= differs ^ (lower & inverts);
  inverts = 0u - (z >> level & 1u);
  differs = (x ^ z) & lower & ~inverts;
  z ^= differs;
  x ^= differs ^ (lower & inverts);
}

// Gray code to binary across the axes and down the levels, after every level was transformed.
HOST_DEVICE_INLINE void hilbert_ungray(uint32_t& x, uint32_t& y, uint32_t& z) {
  y ^= x;
  z ^= y;
  uint32_t flips = z >> 1;  // a level is flipped by the parity of z's bits above it
  flips ^= flips >> 1;
  flips ^= flips >> 2;
  flips ^= flips >> 4;
  flips ^= flips >> 8;
  x ^= flips;
  y ^= flips;
  z ^= flips;
}

}  // namespace sparseops
