#include "search/packet.h"

namespace pointops::cpu {
namespace {

constexpr int kMostPoints = 2 * kMaxNeighbours;
constexpr int32_t kOctaves = 12;  // of squared distances: the bounds are sought in so many below the farthest point's
constexpr int kHalvings = 8;      // of these, which leaves a thirtieth of a bound

struct Near {
  alignas(64) float d2[kMostPoints][kLeaf];  // of the points to each query; infinite for one of another cloud
  alignas(64) float farthest[kLeaf];
  alignas(64) int32_t found[kLeaf];
  int points;
};

POINTOPS_DISPATCHED
void measure(const Leaf* leaves, int64_t first_position, const Packet& packet, Near& near) {
  const Leaf& queries = *packet.queries;
  std::fill_n(near.farthest, kLeaf, 0.0f);
  std::fill_n(near.found, kLeaf, 0);
  for (int i = 0; i < near.points; ++i) {
    const Leaf& leaf = leaves[i / kLeaf];
    const float point[3] = {leaf.x[i % kLeaf], leaf.y[i % kLeaf], leaf.z[i % kLeaf]};
    const int32_t position = static_cast<int32_t>(first_position + i);
    for (int query = 0; query < kLeaf; ++query) {
      const float x = queries.x[query] - point[0], y = queries.y[query] - point[1], z = queries.z[query] - point[2];
      const float d2 = squared_length(x, y, z);
      const bool counts = (packet.begin[query] <= position) & (packet.end[query] > position) &
                          (d2 <= std::numeric_limits<float>::max());
      near.d2[i][query] = counts ? d2 : std::numeric_limits<float>::infinity();
      near.found[query] += counts;
      const float reach = counts ? d2 : 0;
      near.farthest[query] = reach > near.farthest[query] ? reach : near.farthest[query];
    }
  }
}

// Squared distances within which k of the points lie, by halving on the bits of floats, which ascend with them.
POINTOPS_DISPATCHED
void bisect(const Near& near, int k, float* bound2) {
  alignas(64) int32_t low[kLeaf], high[kLeaf], middle[kLeaf], within[kLeaf];
  alignas(64) float middle2[kLeaf];
  __builtin_memcpy(high, near.farthest, sizeof high);
  constexpr int32_t octaves = kOctaves << 23;
  for (int query = 0; query < kLeaf; ++query) low[query] = high[query] > octaves ? high[query] - octaves : 0;
  for (int halving = 0; halving < kHalvings; ++halving) {
    for (int query = 0; query < kLeaf; ++query) middle[query] = low[query] + (high[query] - low[query]) / 2;
    __builtin_memcpy(middle2, middle, sizeof middle2);
    for (int query = 0; query < kLeaf; ++query) within[query] = 0;
    for (int i = 0; i < near.points; ++i)
      for (int query = 0; query < kLeaf; ++query) within[query] += near.d2[i][query] <= middle2[query];
    for (int query = 0; query < kLeaf; ++query) {
      high[query] = within[query] >= k ? middle[query] : high[query];
      low[query] = within[query] >= k ? low[query] : middle[query];
    }
  }
  __builtin_memcpy(bound2, high, sizeof high);
}

}  // namespace

void Packet::draw_in(const BoxTree& tree, int64_t home, int k) {
  const int64_t num_leaves = static_cast<int64_t>(tree.leaves.size());
  const int64_t width = std::min<int64_t>(std::max(2, (2 * k + kLeaf - 1) / kLeaf), num_leaves);
  const int64_t first_leaf = std::min(std::max<int64_t>(home - width / 2, 0), num_leaves - width);
  Near near;
  near.points = static_cast<int>(width) * kLeaf;
  measure(&tree.leaves[first_leaf], first_leaf * kLeaf, *this, near);
  alignas(64) float nearer2[kLeaf];
  bisect(near, k, nearer2);
  for (int query = 0; query < kLeaf; ++query)
    if (near.found[query] >= k) bound2[query] = std::min(bound2[query], nearer2[query]);
}

}  // namespace pointops::cpu
