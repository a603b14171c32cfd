// Connected components on a GPU: a thread a node to begin and to end with, a thread an entry of the table between.
#include "common/launch.cuh"
#include "common/threads.cuh"
#include "components/components_cuda.h"

namespace sparseops::gpu {

using namespace common;

namespace {

struct AtomicLinks {
  int64_t* lower;

  __device__ int64_t load(int64_t node) const { return *static_cast<const volatile int64_t*>(lower + node); }
  __device__ void store(int64_t node, int64_t to) const { *static_cast<volatile int64_t*>(lower + node) = to; }
  __device__ int64_t exchange(int64_t node, int64_t before, int64_t to) const {
    return static_cast<int64_t>(atomicCAS(reinterpret_cast<unsigned long long*>(lower + node),
                                          static_cast<unsigned long long>(before),
                                          static_cast<unsigned long long>(to)));
  }
};

__global__ void __launch_bounds__(kThreads) part_nodes(int64_t num_nodes, int64_t* lowest) {
  const int64_t node = thread_index();
  if (node < num_nodes) lowest[node] = node;
}

__global__ void __launch_bounds__(kThreads) join_nodes(Nodes nodes, int64_t num_entries, int64_t* lowest) {
  const int64_t entry = thread_index();
  if (entry < num_entries)
    join_neighbours(nodes, entry / nodes.num_places, entry % nodes.num_places, AtomicLinks{lowest});
}

__global__ void __launch_bounds__(kThreads) end_nodes(int64_t num_nodes, int64_t* lowest) {
  const int64_t node = thread_index();
  const AtomicLinks links{lowest};
  if (node < num_nodes) links.store(node, end_of(links, node));
}

}  // namespace

cudaError_t connected_components(const Nodes& nodes, int64_t num_rows, int64_t* lowest, cudaStream_t stream) {
  const dim3 blocks(blocks_for(nodes.num_nodes));
  const int64_t num_entries = num_rows * nodes.num_places;
  cudaError_t error = launch(part_nodes, blocks, kThreads, 0, stream, nodes.num_nodes, lowest);
  if (error != cudaSuccess) return error;
  error = launch(join_nodes, dim3(blocks_for(num_entries)), kThreads, 0, stream, nodes, num_entries, lowest);
  if (error != cudaSuccess) return error;
  return launch(end_nodes, blocks, kThreads, 0, stream, nodes.num_nodes, lowest);
}

}  // namespace sparseops::gpu
