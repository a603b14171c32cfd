// Stands in for csrc/launch.cuh of pointops, on top of the emulator, with what else its kernels use.
#pragma once

#include <cmath>

#include "emulator.cuh"

#undef __grid_constant__
#define __grid_constant__

inline float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }

// Lane gets what lane from(lane) brings.
template <typename Value, typename From>
Value shuffle(Value value, From from) {
  Value offer = value;
  emulated::meet_warp(offer, [from](Value** offers) {
    Value given[32];
    for (int lane = 0; lane < 32; ++lane) given[lane] = *offers[lane];
    for (int lane = 0; lane < 32; ++lane) *offers[lane] = given[from(lane)];
  });
  return offer;
}

template <typename Value>
Value __shfl_sync(unsigned, Value value, int source) {
  return shuffle(value, [source](int) { return source; });
}

template <typename Value>
Value __shfl_xor_sync(unsigned, Value value, int mask) {
  return shuffle(value, [mask](int lane) { return lane ^ mask; });
}

// Lane gets what the lane step before it brings, of the same group of width lanes; its own where there is none.
inline int __shfl_up_sync(unsigned, int value, int step, int width) {
  return shuffle(value, [=](int lane) { return lane % width >= step ? lane - step : lane; });
}

template <typename Value>
Value __shfl_sync(unsigned, Value value, int source, int width) {
  return shuffle(value, [=](int lane) { return lane / width * width + source; });
}

inline unsigned long long atomicAdd(unsigned long long* at, unsigned long long value) {
  return exchange(at, [=](unsigned long long before) { return before + value; });
}

namespace pointops::gpu {

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t blocks, int threads, cudaStream_t stream,
                   Arguments... arguments) {
  return sparseops::gpu::launch(kernel, dim3(static_cast<unsigned>(blocks)), threads, 0, stream, arguments...);
}

}  // namespace pointops::gpu
