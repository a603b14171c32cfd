// Moments of neighbours on the CPU, on raw pointers.
#pragma once

#include "moments/moments.h"

namespace pointops::cpu {

// out (kMoments, queries)
void neighbour_moments(const Neighbourhoods& of, double* out);

}  // namespace pointops::cpu
