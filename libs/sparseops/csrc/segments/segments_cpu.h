// Reductions of rows over segments on the CPU, on raw pointers.
#pragma once

#include <cstdint>

namespace sparseops {

enum Reduction : int { kSum = 0, kMean = 1, kMax = 2, kMin = 3 };

// Reduces rows of values (n, channels) between offsets (num_segments + 1,); 0 for an empty segment.
template <typename Value>
void segment_reduce_cpu(const Value* values, const int64_t* offsets, int64_t num_segments, int64_t channels,
                        Reduction reduction, Value* out);

}  // namespace sparseops
