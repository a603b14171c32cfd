// Codes and orders along space-filling curves on the CPU, on raw pointers.
#pragma once

#include <cstdint>

namespace sparseops {

// Codes (num_curves, n) of the points `coord` (n, 3). `batch` (n,) is put above 3 * depth bits, or null. `depths` (n,)
// gives each point its own depth, at most `depth`, or is null.
template <typename Coord>
void serialization_codes_cpu(const Coord* coord, const int64_t* batch, const int64_t* depths, int64_t n, int depth,
                             const int64_t* curves, int64_t num_curves, int64_t* codes);

// Stable order of each row of codes (num_rows, n) by the low `num_bits`, and its inverse. n is below 2**32.
void sort_codes_cpu(const int64_t* codes, int64_t num_rows, int64_t n, int num_bits, int64_t* orders,
                    int64_t* inverses);

}  // namespace sparseops
