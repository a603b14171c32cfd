// Indices that cut clouds into patches, on the CPU.
#include <algorithm>

#include "patches/patches_cpu.h"

namespace sparseops {

void patch_padding_cpu(const int64_t* offset, int64_t num_clouds, int64_t patch_size, int64_t* pad, int64_t* unpad,
                       int32_t* cu_seqlens) {
  int64_t start = 0, padded_start = 0;
  for (int64_t cloud = 0; cloud < num_clouds; ++cloud) {
    const int64_t count = offset[cloud] - start;
    const int64_t padded = count > patch_size ? (count + patch_size - 1) / patch_size * patch_size : count;
    for (int64_t i = 0; i < count; ++i) {
      pad[padded_start + i] = start + i;
      unpad[start + i] = padded_start + i;
    }
    for (int64_t i = count; i < padded; ++i) pad[padded_start + i] = start + i - patch_size;
    for (int64_t i = 0; i < padded; i += patch_size) *cu_seqlens++ = static_cast<int32_t>(padded_start + i);
    start = offset[cloud];
    padded_start += padded;
  }
  *cu_seqlens = static_cast<int32_t>(padded_start);
}

}  // namespace sparseops
