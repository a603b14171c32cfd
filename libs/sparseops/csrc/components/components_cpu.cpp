// Connected components on the CPU.
#include "components/components_cpu.h"

#include <ATen/Parallel.h>

namespace sparseops {
namespace {

constexpr int64_t kGrain = 1 << 12;  // nodes or places a thread takes at once

struct AtomicLinks {
  int64_t* lower;

  int64_t load(int64_t node) const { return __atomic_load_n(lower + node, __ATOMIC_RELAXED); }
  void store(int64_t node, int64_t to) const { __atomic_store_n(lower + node, to, __ATOMIC_RELAXED); }
  int64_t exchange(int64_t node, int64_t before, int64_t to) const {
    __atomic_compare_exchange_n(lower + node, &before, to, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return before;
  }
};

}  // namespace

void connected_components_cpu(const Nodes& nodes, int64_t num_rows, int64_t* lowest) {
  const AtomicLinks links{lowest};
  at::parallel_for(0, nodes.num_nodes, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t node = begin; node < end; ++node) lowest[node] = node;
  });
  at::parallel_for(0, nodes.num_places, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t place = begin; place < end; ++place) {
      for (int64_t row = 0; row < num_rows; ++row) join_neighbours(nodes, row, place, links);
    }
  });
  at::parallel_for(0, nodes.num_nodes, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t node = begin; node < end; ++node) links.store(node, end_of(links, node));
  });
}

}  // namespace sparseops
