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

constexpr int kMaxPatchLevels = 20;

// A level of num_points voxels in order along curves, and where its patches go.
struct PatchLevel {
  const int32_t* orders;  // (num_curves, num_points)
  int32_t* gather;        // (num_curves, num_padded), the row at each place
  int32_t* scatter;       // (num_curves, num_points), the place of each row
  int32_t* cu_seqlens;    // (num_patches + 1)
  int num_curves;
  int num_points;
  int num_padded;
  int num_patches;
  int patch_size;
};

// Where a cloud begins in a level: among its places, its points and its patches.
struct PatchCloud {
  int32_t padded_start, start, first_patch;
};

// The patches of at most kMaxPatchLevels levels; patch_padding says how clouds are cut. `clouds` (count, num_clouds +
// 1) has of every level those of all clouds, and the ends of the last.
cudaError_t serial_patches(const PatchLevel* levels, int count, const PatchCloud* clouds, int num_clouds,
                           cudaStream_t stream);

}  // namespace sparseops::gpu
