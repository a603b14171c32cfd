// Reductions of rows over segments on a GPU. Pointers are on the device; nothing waits for it.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "segments/segments_cpu.h"

namespace sparseops::gpu {

// Reduces rows of values (num_rows, channels) between offsets (num_segments + 1,), which are moved into
// [0, num_rows]; 0 for an empty segment.
template <typename Value>
cudaError_t segment_reduce(const Value* values, const int64_t* offsets, int64_t num_rows, int64_t num_segments,
                           int64_t channels, Reduction reduction, Value* out, cudaStream_t stream);

}  // namespace sparseops::gpu
