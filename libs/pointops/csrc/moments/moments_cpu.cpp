#include "moments/moments_cpu.h"

#include <ATen/Parallel.h>

namespace pointops::cpu {

void neighbour_moments(const Neighbourhoods& of, double* out) {
  at::parallel_for(0, of.num_queries, 512, [&](int64_t first, int64_t last) {
    for (int64_t query = first; query < last; ++query) write_moments(of, query, out + query, of.num_queries);
  });
}

}  // namespace pointops::cpu
