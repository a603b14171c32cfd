// Patches of serialized clouds on a GPU. Pointers are on the device; nothing waits for it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace sparseops::gpu {

int64_t patch_padding_scratch(int64_t num_clouds);

// Indices of patches for clouds ending at `offset` (num_clouds,); see patch_padding_cpu. num_padded, below 2**31, and
// num_patches must be what the offsets lead to.
cudaError_t patch_padding(const int64_t* offset, int64_t num_clouds, int64_t patch_size, int64_t num_padded,
                          int64_t num_patches, int64_t* pad, int64_t* unpad, int32_t* cu_seqlens, void* scratch,
                          cudaStream_t stream);

}  // namespace sparseops::gpu
