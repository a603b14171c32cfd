// Farthest point sampling on the CPU, on raw pointers.
#pragma once

#include "search/search_cpu.h"

namespace pointops::cpu {

// index (samples.end of the last cloud); every cloud starts at its first point, equal distances go to the lower index.
void farthest_point_sampling(const float* xyz, Clouds clouds, Clouds samples, int32_t* index);

}  // namespace pointops::cpu
