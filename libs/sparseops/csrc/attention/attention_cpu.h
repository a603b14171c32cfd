// Attention inside patches on the CPU, on raw pointers.
#pragma once

#include <cstdint>

namespace sparseops {

// Attention inside patches, qkv (T, 3, heads, dim) to out (T, heads * dim). `bias` is (patches, heads, L, L) where all
// patches have the length L, or null.
void patch_attention_cpu(const float* qkv, const int32_t* cu_seqlens, int64_t num_patches, int64_t heads, int64_t dim,
                         float scale, const float* bias, float* out);

}  // namespace sparseops
