// Serialization, segments and patches on a GPU. Pointers are on the device unless a name says otherwise; no function
// waits for the device.
#pragma once

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "serial_cpu.h"

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

// Reduces rows of values (num_rows, channels) between offsets (num_segments + 1,), which are moved into
// [0, num_rows]; 0 for an empty segment.
template <typename Value>
cudaError_t segment_reduce(const Value* values, const int64_t* offsets, int64_t num_rows, int64_t num_segments,
                           int64_t channels, Reduction reduction, Value* out, cudaStream_t stream);

int64_t patch_padding_scratch(int64_t num_clouds);

// Indices of patches for clouds ending at `offset` (num_clouds,); see patch_padding_cpu. num_padded, below 2**31, and
// num_patches must be what the offsets lead to.
cudaError_t patch_padding(const int64_t* offset, int64_t num_clouds, int64_t patch_size, int64_t num_padded,
                          int64_t num_patches, int64_t* pad, int64_t* unpad, int32_t* cu_seqlens, void* scratch,
                          cudaStream_t stream);

}  // namespace sparseops::gpu
