// Serialization, segments, patches and patch attention on the CPU, on raw pointers.
#pragma once

#include <cstdint>

namespace sparseops {

enum Reduction : int { kSum = 0, kMean = 1, kMax = 2, kMin = 3 };

// Codes (num_curves, n) of the points `coord` (n, 3). `batch` (n,) is put above 3 * depth bits, or null. `depths` (n,)
// gives each point its own depth, at most `depth`, or is null.
template <typename Coord>
void serialization_codes_cpu(const Coord* coord, const int64_t* batch, const int64_t* depths, int64_t n, int depth,
                             const int64_t* curves, int64_t num_curves, int64_t* codes);

// Stable order of each row of codes (num_rows, n) by the low `num_bits`, and its inverse. n is below 2**32.
void sort_codes_cpu(const int64_t* codes, int64_t num_rows, int64_t n, int num_bits, int64_t* orders,
                    int64_t* inverses);

// Reduces rows of values (n, channels) between offsets (num_segments + 1,); 0 for an empty segment.
template <typename Value>
void segment_reduce_cpu(const Value* values, const int64_t* offsets, int64_t num_segments, int64_t channels,
                        Reduction reduction, Value* out);

// Indices of patches for clouds ending at `offset` (num_clouds,); see patch_padding in patches.py.
void patch_padding_cpu(const int64_t* offset, int64_t num_clouds, int64_t patch_size, int64_t* pad, int64_t* unpad,
                       int32_t* cu_seqlens);

// Attention inside patches, qkv (T, 3, heads, dim) to out (T, heads * dim). `bias` is (patches, heads, L, L) where all
// patches have the length L, or null.
void patch_attention_cpu(const float* qkv, const int32_t* cu_seqlens, int64_t num_patches, int64_t heads, int64_t dim,
                         float scale, const float* bias, float* out);

}  // namespace sparseops
