// The instructions of attention that CUDA C++ has no names for.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "conv/ptx.cuh"

namespace sparseops::gpu {

// Copies 4 bytes into shared memory, zeros where `present` is false; asynchronously from sm_80 on.
__device__ __forceinline__ void copy4(void* shared, const void* global, bool present) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(present ? 4 : 0)
               : "memory");
#else
  *static_cast<uint32_t*>(shared) = present ? __ldg(static_cast<const uint32_t*>(global)) : 0;
#endif
}

// load_matrices with every matrix transposed: lane 4 c + r receives columns c of rows 2 r and 2 r + 1.
__device__ __forceinline__ void load_transposed(uint32_t (&registers)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(shared)));
}

// 2 to the power of x, to 2 units in the last place; 0 for results below the normal numbers.
__device__ __forceinline__ float power_of_2(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

}  // namespace sparseops::gpu
