// Connected components of nodes that lie at places: what CPU and GPU have in common.
//
// Every node points to a lower one of its component, or to itself. Two components become one where the higher of their
// ends is made to point to the lower, in one atomic step; so threads may join at the same time, and in the end every
// node leads to the lowest of its component.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace sparseops {

// Nodes at places; pointers are to the memory of whatever runs the code.
struct Nodes {
  const int32_t* neighbours;  // (num_rows, num_places)
  const int64_t* offsets;     // (num_places + 1): place p has the nodes from offsets[p] to offsets[p + 1]
  const int64_t* labels;      // (num_nodes), ascending at a place
  int64_t num_places, num_nodes;

  // Where the nodes of a place begin; offsets that lead out of the nodes are moved to their ends.
  HOST_DEVICE_INLINE int64_t begin(int64_t place) const {
    const int64_t offset = offsets[place];
    return offset < 0 ? 0 : offset > num_nodes ? num_nodes : offset;
  }
};

// Where the way from `node` ends. On it nodes are made to point to the next but one. Links has load(node), store(node,
// to) and exchange(node, before, to), which gives what was there.
template <typename Links>
HOST_DEVICE_INLINE int64_t end_of(const Links& links, int64_t node) {
  for (int64_t next = links.load(node); next != node;) {
    const int64_t further = links.load(next);
    if (further == next) return next;
    links.store(node, further);
    node = further;
    next = links.load(node);
  }
  return node;
}

template <typename Links>
HOST_DEVICE_INLINE void join(const Links& links, int64_t one, int64_t other) {
  while (true) {
    one = end_of(links, one);
    other = end_of(links, other);
    if (one == other) return;
    const int64_t high = one > other ? one : other, low = one > other ? other : one;
    if (links.exchange(high, high, low) == high) return;
  }
}

// Joins the nodes of `place` to those of one label at the place beside it in `row`.
template <typename Links>
HOST_DEVICE_INLINE void join_neighbours(const Nodes& nodes, int64_t row, int64_t place, const Links& links) {
  const int64_t beside = nodes.neighbours[row * nodes.num_places + place];
  if (beside < 0 || beside >= nodes.num_places) return;
  int64_t one = nodes.begin(place), other = nodes.begin(beside);
  const int64_t one_end = nodes.begin(place + 1), other_end = nodes.begin(beside + 1);
  while (one < one_end && other < other_end) {
    const int64_t label = nodes.labels[one], other_label = nodes.labels[other];
    if (label == other_label) join(links, one, other);
    one += label <= other_label;
    other += other_label <= label;
  }
}

}  // namespace sparseops
