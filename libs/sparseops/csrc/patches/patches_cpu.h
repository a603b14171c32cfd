// Patches of serialized clouds on the CPU, on raw pointers.
#pragma once

#include <cstdint>

namespace sparseops {

// Indices of patches for clouds ending at `offset` (num_clouds,); see patch_padding in patches.py.
void patch_padding_cpu(const int64_t* offset, int64_t num_clouds, int64_t patch_size, int64_t* pad, int64_t* unpad,
                       int32_t* cu_seqlens);

}  // namespace sparseops
