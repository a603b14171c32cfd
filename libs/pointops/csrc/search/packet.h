// Queries that go through the tree together, each with the distance beyond which it wants nothing.
#pragma once

#include "search/box_tree.h"

namespace pointops::cpu {

// Bits of those of a leaf's slots for which `is_set`. GCC makes vectors of a sum over a leaf only if it has not
// unrolled the loop before.
template <class IsSet>
POINTOPS_INLINE uint32_t bits_where(IsSet is_set) {
  uint32_t bits = 0;
#pragma GCC unroll 1
  for (int i = 0; i < kLeaf; ++i) bits |= is_set(i) ? 1u << i : 0u;
  return bits;
}

struct Packet {
  const Leaf* queries;
  int32_t begin[kLeaf], end[kLeaf];  // positions of the query's cloud in the tree
  float bound2[kLeaf];               // a neighbour is at most so far away; negative: no query
  int32_t last_index[kLeaf];         // and one that is so far away has at most this index
  float low[3], high[3];             // around the queries
  int32_t first, last;               // all their positions

  Packet(const Leaf& leaf, Clouds clouds, Clouds query_clouds, float bound) : queries(&leaf) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    first = std::numeric_limits<int32_t>::max();
    last = 0;
    std::fill_n(low, 3, infinity);
    std::fill_n(high, 3, -infinity);
    std::fill_n(last_index, kLeaf, std::numeric_limits<int32_t>::max());
    for (int i = 0; i < kLeaf; ++i) {
      const float point[3] = {leaf.x[i], leaf.y[i], leaf.z[i]};
      bound2[i] = is_finite(point) ? bound : -1;
      begin[i] = end[i] = 0;
      if (bound2[i] < 0) continue;
      const int64_t cloud = query_clouds.of(leaf.index[i]);
      begin[i] = static_cast<int32_t>(clouds.begin(cloud));
      end[i] = static_cast<int32_t>(clouds.end(cloud));
      first = std::min(first, begin[i]);
      last = std::max(last, end[i]);
      for (int axis = 0; axis < 3; ++axis) {
        low[axis] = std::min(low[axis], point[axis]);
        high[axis] = std::max(high[axis], point[axis]);
      }
    }
  }

  POINTOPS_INLINE float largest_bound2() const {
    int32_t bits[kLeaf], largest = 0;  // as signed numbers, bits ascend with floats that are not negative
    __builtin_memcpy(bits, bound2, sizeof bits);
#pragma GCC unroll 1
    for (int32_t one : bits) largest = one > largest ? one : largest;
    return bits_float(static_cast<uint32_t>(largest));
  }

  // The queries, as bits, for which a neighbour can be in a box.
  POINTOPS_INLINE uint32_t near(const Boxes& boxes, int slot) const {
    return bits_where([&](int i) {
      const float x = gap(boxes.low[0][slot] - queries->x[i], queries->x[i] - boxes.high[0][slot]);
      const float y = gap(boxes.low[1][slot] - queries->y[i], queries->y[i] - boxes.high[1][slot]);
      const float z = gap(boxes.low[2][slot] - queries->z[i], queries->z[i] - boxes.high[2][slot]);
      const float d2 = squared_length(x, y, z);
      return (d2 < bound2[i]) | ((d2 == bound2[i]) & (boxes.first[slot] <= last_index[i]));
    });
  }

  // Whether none of the positions under a node of that width is of the queries' clouds.
  POINTOPS_INLINE bool skips(int64_t place, int64_t width) const {
    return place * width >= last || (place + 1) * width <= first;
  }

  // Lowers the bounds, so that k points of each query's cloud in leaves along the curve around `home` stay within.
  void draw_in(const BoxTree& tree, int64_t home, int k);
};

}  // namespace pointops::cpu
