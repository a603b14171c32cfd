// Codes and orders along space-filling curves on a GPU. Pointers are on the device unless a name says otherwise; no
// function waits for the device.
#pragma once

#include <cuda_runtime.h>
#include <cstdint>

namespace sparseops::gpu {

// Codes (num_curves, n) of the points `coord` (n, 3); see serialization_codes_cpu. `host_curves` are on the host.
template <typename Coord>
cudaError_t serialization_codes(const Coord* coord, const int64_t* batch, const int64_t* depths, int64_t n, int depth,
                                const int64_t* host_curves, int64_t num_curves, int64_t* codes, cudaStream_t stream);

// Bytes of scratch memory, aligned to 256 bytes, that sort_codes asks for.
int64_t sort_codes_scratch(int64_t num_rows, int64_t n, int num_bits);

// Stable order of each row of codes (num_rows, n) by the low `num_bits`, and its inverse. n is below 2**31.
cudaError_t sort_codes(const int64_t* codes, int64_t num_rows, int64_t n, int num_bits, int64_t* orders,
                       int64_t* inverses, void* scratch, cudaStream_t stream);

constexpr int kMaxDepths = 512;

// The depth of each cloud.
struct Depths {
  uint8_t of[kMaxDepths];
  int count, greatest;
};

// Codes (num_curves, n) of voxels `coords` (n, 4) of cloud, x, y, z, each cloud with its own depth.
cudaError_t voxel_codes(const int64_t* coords, int64_t n, const Depths& depths, const int64_t* host_curves,
                        int64_t num_curves, int64_t* codes, cudaStream_t stream);

// Rows along curves and their inverses, each (curves, n).
struct CurveOrders {
  const int64_t* orders;
  const int64_t* inverses;
};

// Voxels (n, 4) along the curve `own`: their rows, the voxels themselves, and in that order those along the num_curves
// of `others`, int32 (num_curves, n), and their inverses.
cudaError_t order_voxels(const int64_t* coords, int64_t n, CurveOrders own, CurveOrders others, int64_t num_curves,
                         int64_t* rows, int64_t* sorted, int32_t* orders, int32_t* inverses, cudaStream_t stream);

}  // namespace sparseops::gpu
