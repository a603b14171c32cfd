// Points to the voxels of a grid on a GPU. Pointers are on the device unless said otherwise; nothing waits for it.
#pragma once

#include <cuda_runtime.h>
#include <cstdint>

#include "grid/grid_cpu.h"

namespace sparseops::gpu {

// What grid_sample tells of its result.
struct GridResult {
  int num_voxels;
  int inside;  // 0 where a coordinate is no number or 2**62 cells away: then nothing else of the result is right
};

struct GridSize {
  double edges[3];
};

// Bytes of scratch memory, aligned to 256 bytes, that grid_sample asks for.
int64_t grid_sample_scratch(int num_points);

// The voxels of coord (num_points, 3), 0 < num_points. `told` may be page-locked memory of the host.
template <typename Coord>
cudaError_t grid_sample(const Coord* coord, int num_points, GridSize grid_size, Hash hash, const GridOutputs& out,
                        GridResult* told, void* scratch, cudaStream_t stream);

}  // namespace sparseops::gpu
