// The instructions of compute capability 9.0 that CUDA C++ has no names for: barriers that count bytes, copies by the
// bulk engine, products by warpgroups (four warps). Only where compiled for sm_90a.
#pragma once

#include <cuda.h>

#include "conv/ptx.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

namespace sparseops::gpu {

__device__ __forceinline__ void barrier_init(uint64_t& barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(arrivals) : "memory");
}

// After barrier_init, before other threads and the bulk engine use the barriers.
__device__ __forceinline__ void barriers_publish() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(uint64_t& barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier)) : "memory");
}

// Arrives, and lets the phase last until so many bytes were copied.
__device__ __forceinline__ void barrier_arrive(uint64_t& barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)), "r"(bytes)
               : "memory");
}

// Waits for the end of the phase; phases alternate in parity, the first has parity 0.
__device__ __forceinline__ void barrier_wait(uint64_t& barrier, int parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(&barrier)),
      "r"(parity)
      : "memory");
}

__device__ __forceinline__ void prefetch_box(const CUtensorMap& matrix) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&matrix) : "memory");
}

// Copies the box of a matrix that begins at (row, column) into shared memory; `barrier` counts the bytes.
__device__ __forceinline__ void copy_box(void* shared, const CUtensorMap& matrix, int row, int column,
                                         uint64_t& barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
          shared_address(shared)),
      "l"(&matrix), "r"(column), "r"(row), "r"(shared_address(&barrier))
      : "memory");
}

// Arrives once all copies of 16 bytes that this thread began are there.
__device__ __forceinline__ void arrive_after_copies(uint64_t& barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(&barrier)) : "memory");
}

// After a barrier: the copies it counted are there for the tensor cores too.
__device__ __forceinline__ void see_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Waits for `threads` threads that name the same barrier, 1 to 15.
template <int kBarrier, int kThreads>
__device__ __forceinline__ void sync_some() {
  asm volatile("bar.sync %0, %1;" ::"n"(kBarrier), "n"(kThreads) : "memory");
}

// Rows of 128 bytes in shared memory, their chunks of 16 bytes swizzled by row % 8, as the tensor cores address them;
// 1024-byte aligned, plus a multiple of 32 bytes along the rows.
__device__ __forceinline__ uint64_t swizzled_matrix(const void* shared) {
  constexpr uint64_t kSwizzle128 = 1ull << 62, kEightRows = 1024ull >> 4 << 32, kUnused = 1ull << 16;
  return kSwizzle128 | kEightRows | kUnused | (shared_address(shared) & 0x3ffff) >> 4;
}

__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// sums (64, kColumns) += a (64, 16) * b (kColumns, 16) transposed. Warp w of the group has rows 16 w on, in the layout
// of mma.sync: sums[4 j] is at row lane / 4, column 8 j + lane % 4 * 2; then the next column; then 8 rows below.
template <typename T, int kColumns>
__device__ void multiply_add_group(float (&sums)[kColumns / 2], uint64_t a, uint64_t b);

#define SPARSEOPS_NAMES_0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define SPARSEOPS_NAMES_1 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SPARSEOPS_NAMES_2 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define SPARSEOPS_NAMES_3 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SPARSEOPS_NAMES_4 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define SPARSEOPS_NAMES_5 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define SPARSEOPS_NAMES_6 "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define SPARSEOPS_NAMES_7 \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define SPARSEOPS_SUMS_4(i) "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3])
#define SPARSEOPS_SUMS(i) \
  SPARSEOPS_SUMS_4(i), SPARSEOPS_SUMS_4(i + 4), SPARSEOPS_SUMS_4(i + 8), SPARSEOPS_SUMS_4(i + 12)
#define SPARSEOPS_NAMES_32 SPARSEOPS_NAMES_0
#define SPARSEOPS_NAMES_64 SPARSEOPS_NAMES_32 ", " SPARSEOPS_NAMES_1
#define SPARSEOPS_NAMES_96 SPARSEOPS_NAMES_64 ", " SPARSEOPS_NAMES_2
#define SPARSEOPS_NAMES_128 SPARSEOPS_NAMES_96 ", " SPARSEOPS_NAMES_3
#define SPARSEOPS_NAMES_256 \
  SPARSEOPS_NAMES_128 ", " SPARSEOPS_NAMES_4 ", " SPARSEOPS_NAMES_5 ", " SPARSEOPS_NAMES_6 ", " SPARSEOPS_NAMES_7
#define SPARSEOPS_SUMS_32 SPARSEOPS_SUMS(0)
#define SPARSEOPS_SUMS_64 SPARSEOPS_SUMS_32, SPARSEOPS_SUMS(16)
#define SPARSEOPS_SUMS_96 SPARSEOPS_SUMS_64, SPARSEOPS_SUMS(32)
#define SPARSEOPS_SUMS_128 SPARSEOPS_SUMS_96, SPARSEOPS_SUMS(48)
#define SPARSEOPS_SUMS_256 \
  SPARSEOPS_SUMS_128, SPARSEOPS_SUMS(64), SPARSEOPS_SUMS(80), SPARSEOPS_SUMS(96), SPARSEOPS_SUMS(112)

#define SPARSEOPS_PRODUCT(TYPE, NAME, COLUMNS, A, B)                                                         \
  template <>                                                                                                \
  __device__ __forceinline__ void multiply_add_group<TYPE, COLUMNS>(float (&sums)[COLUMNS / 2], uint64_t a,  \
                                                                    uint64_t b) {                            \
    asm volatile(                                                                                            \
        "{\n.reg .pred add;\nsetp.eq.u32 add, 0, 0;\n"                                                       \
        "wgmma.mma_async.sync.aligned.m64n" #COLUMNS "k16.f32." NAME "." NAME " {" SPARSEOPS_NAMES_##COLUMNS \
        "}, " A ", " B ", add, 1, 1, 0, 0;\n}"                                                               \
        : SPARSEOPS_SUMS_##COLUMNS                                                                           \
        : "l"(a), "l"(b));                                                                                   \
  }
#define SPARSEOPS_PRODUCTS(COLUMNS, A, B)         \
  SPARSEOPS_PRODUCT(__half, "f16", COLUMNS, A, B) \
  SPARSEOPS_PRODUCT(__nv_bfloat16, "bf16", COLUMNS, A, B)

SPARSEOPS_PRODUCTS(32, "%16", "%17")
SPARSEOPS_PRODUCTS(64, "%32", "%33")
SPARSEOPS_PRODUCTS(96, "%48", "%49")
SPARSEOPS_PRODUCTS(128, "%64", "%65")
SPARSEOPS_PRODUCTS(256, "%128", "%129")

}  // namespace sparseops::gpu

#endif
