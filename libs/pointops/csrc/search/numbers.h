// Small arithmetic that CPU and CUDA must do alike, bit for bit.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/host_device.h"

namespace pointops {

HOST_DEVICE_INLINE uint32_t low(uint64_t pair) { return static_cast<uint32_t>(pair); }
HOST_DEVICE_INLINE uint32_t high(uint64_t pair) { return static_cast<uint32_t>(pair >> 32); }

HOST_DEVICE_INLINE uint32_t float_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

HOST_DEVICE_INLINE float bits_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

HOST_DEVICE_INLINE bool is_finite(float value) { return value - value == 0; }
HOST_DEVICE_INLINE bool is_finite(const float* point) {
  return is_finite(point[0]) && is_finite(point[1]) && is_finite(point[2]);
}

// Without fused products, which round differently.
HOST_DEVICE_INLINE float squared_length(float x, float y, float z) {
#ifdef __CUDA_ARCH__
  return __fadd_rn(__fadd_rn(__fmul_rn(x, x), __fmul_rn(y, y)), __fmul_rn(z, z));
#else
  return x * x + y * y + z * z;
#endif
}

// The way along an axis to an interval that begins `below` above and ends `above` below. Subtraction, product and sum
// round monotonically: the squared length of three gaps is never above that of a point in the box, as computed.
HOST_DEVICE_INLINE float gap(float below, float above) {
#ifdef __CUDA_ARCH__
  return fmaxf(fmaxf(below, above), 0.0f);
#else
  const float larger = below > above ? below : above;
  return larger > 0 ? larger : 0;
#endif
}

constexpr uint64_t kFarthest = uint64_t{0x7f7fffff} << 32;  // high word: bits of the largest finite float
constexpr uint64_t kNoNeighbour = kFarthest | 0xffffffff;   // index -1
constexpr float kMissingDistance2 = 1e10f;

}  // namespace pointops
