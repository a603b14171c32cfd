// Moments of neighbours: a thread a query.
#include "common/launch.cuh"
#include "common/threads.cuh"
#include "moments/moments_cuda.h"

namespace pointops::gpu {
namespace {

__global__ void __launch_bounds__(common::kThreads) moments_kernel(Neighbourhoods of, double* out) {
  const int64_t query = common::thread_index();
  if (query < of.num_queries) write_moments(of, query, out + query, of.num_queries);
}

}  // namespace

cudaError_t neighbour_moments(const Neighbourhoods& of, double* out, cudaStream_t stream) {
  return common::launch(moments_kernel, common::blocks_for(of.num_queries), common::kThreads, 0, stream, of, out);
}

}  // namespace pointops::gpu
