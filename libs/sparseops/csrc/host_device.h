// Marks functions that are the same on CPU and GPU.
#pragma once

#ifdef __CUDACC__
#define SPARSEOPS_INLINE __host__ __device__ __forceinline__
#else
#define SPARSEOPS_INLINE inline __attribute__((always_inline))
#endif
