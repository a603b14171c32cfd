// Marks functions that are the same on CPU and GPU.
#pragma once

#ifdef __CUDACC__
#define HOST_DEVICE_INLINE __host__ __device__ __forceinline__
#else
#define HOST_DEVICE_INLINE inline __attribute__((always_inline))
#endif
