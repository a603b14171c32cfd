// A sort and running sums in the place of CUB's.
#include <algorithm>
#include <vector>

#include "radix_sort.h"
#include "scan.h"

namespace sparseops::gpu {

size_t radix_sort_scratch(int, int) { return 8; }

cudaError_t radix_sort(Pairs pairs, int num_pairs, int num_bits, void*, size_t, cudaStream_t,
                       SortedPairs* sorted) {
  const uint64_t mask = num_bits < 64 ? (uint64_t{1} << num_bits) - 1 : ~uint64_t{0};
  std::vector<int> order(num_pairs);
  for (int i = 0; i < num_pairs; ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return (pairs.keys[0][a] & mask) < (pairs.keys[0][b] & mask); });
  for (int i = 0; i < num_pairs; ++i) {
    pairs.keys[1][i] = pairs.keys[0][order[i]];
    pairs.values[1][i] = pairs.values[0][order[i]];
  }
  *sorted = {pairs.keys[1], pairs.values[1]};
  return cudaSuccess;
}

size_t running_sum_scratch(int) { return 8; }

cudaError_t running_sum(int* values, int num_values, void*, size_t, cudaStream_t) {
  for (int i = 1; i < num_values; ++i) values[i] += values[i - 1];
  return cudaSuccess;
}

}  // namespace sparseops::gpu
