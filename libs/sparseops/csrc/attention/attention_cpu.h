// Attention inside patches on the CPU, on raw pointers.
#pragma once

#include <cstdint>

namespace sparseops {

// A score's bias by the relative position of query and key: the sum over the axes of the entries for their distance,
// clamped to +-bound.
struct Positions {
  const float* table;     // (3, 2 * bound + 1, heads), or null for no bias
  const int32_t* voxels;  // (T, 3), within +-2**30
  int64_t bound;
};

// Attention inside patches, qkv (T, 3, heads, dim) to out (T, heads * dim).
void patch_attention_cpu(const float* qkv, const int32_t* cu_seqlens, int64_t num_patches, int64_t heads, int64_t dim,
                         float scale, const Positions& positions, float* out);

}  // namespace sparseops
