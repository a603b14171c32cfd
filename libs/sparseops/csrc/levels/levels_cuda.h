// Levels of coarser voxels on a GPU. Pointers are on the device; no function waits for it.
#pragma once

#include <cuda_runtime.h>
#include <cstdint>

#include "levels/levels.h"

namespace sparseops::gpu {

// See cloud_extents_cpu.
cudaError_t cloud_extents(const int64_t* coords, int64_t n, int32_t* extents, cudaStream_t stream);

// Bytes of scratch memory, aligned to 256 bytes, that coarse_ranks asks for.
int64_t coarse_ranks_scratch(int64_t n, int num_levels);

// See coarse_ranks_cpu; n * num_levels is below 2**31.
cudaError_t coarse_ranks(const ShiftedVoxels& voxels, int64_t n, int num_levels, int32_t* ranks, void* scratch,
                         cudaStream_t stream);

// See coarse_rows_cpu.
cudaError_t coarse_rows(const ShiftedVoxels& voxels, const int32_t* ranks, int64_t n, const CoarseLevels& levels,
                        int64_t* coarse, int64_t* parents, int64_t* starts, cudaStream_t stream);

// Bytes of scratch memory, aligned to 256 bytes, that coarse_orders asks for.
int64_t coarse_orders_scratch(int64_t n, int64_t num_curves, int num_levels);

// See coarse_orders_cpu; n * num_curves * levels is below 2**31.
cudaError_t coarse_orders(const int32_t* orders, int64_t num_curves, const int64_t* parents, const CoarseLevels& levels,
                          int32_t* coarse_orders, int32_t* coarse_inverses, void* scratch, cudaStream_t stream);

}  // namespace sparseops::gpu
