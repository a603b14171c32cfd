// Values that are loaded and stored 16 bytes at a time and computed with in float32.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace common {

template <typename T>
struct alignas(16) Pack {
  static constexpr int kValues = 16 / sizeof(T);
  T values[kValues];
};

__device__ __forceinline__ float to_float(__half value) { return __half2float(value); }
__device__ __forceinline__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ void from_float(float value, __half& out) { out = __float2half_rn(value); }
__device__ __forceinline__ void from_float(float value, __nv_bfloat16& out) { out = __float2bfloat16_rn(value); }
__device__ __forceinline__ void from_float(float value, float& out) { out = value; }

template <typename T>
__device__ __forceinline__ Pack<T> load_pack(const T* values) {
  return *reinterpret_cast<const Pack<T>*>(values);
}

template <typename T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T>& pack) {
  *reinterpret_cast<Pack<T>*>(to) = pack;
}

}  // namespace common
