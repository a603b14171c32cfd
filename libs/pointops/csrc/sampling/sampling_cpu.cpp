// Farthest point sampling: a new sample only walks down to the leaves that hold a point nearer to it than to all
// samples before; every node keeps the farthest point below it.
#include <ATen/Parallel.h>

#include <array>

#include "sampling/sampling_cpu.h"
#include "search/box_tree.h"

namespace pointops::cpu {
namespace {

// (bits of the squared distance to the samples, ~index): the largest is the farthest point, the lowest index of equals
using Farthest = uint64_t;

float distance_of(Farthest farthest) { return bits_float(high(farthest)); }
// Where no point has finite coordinates it is the first.
int32_t index_of(Farthest farthest) { return std::max(static_cast<int32_t>(~low(farthest)), 0); }

struct State {
  explicit State(const BoxTree& tree);

  const BoxTree& tree;
  std::vector<std::array<float, kLeaf>> distance2;                // of the points in the tree's leaves to the samples
  std::vector<std::vector<std::array<Farthest, kFan>>> farthest;  // below the boxes of the tree's levels
};

Farthest largest(const std::array<Farthest, kFan>& group) { return *std::max_element(group.begin(), group.end()); }

POINTOPS_INLINE Farthest farthest_in(const Leaf& leaf, const std::array<float, kLeaf>& distance2) {
  float most = 0;
  for (int i = 0; i < kLeaf; ++i) most = distance2[i] > most ? distance2[i] : most;
  uint32_t lowest = 0xffffffff;  // of an unused slot
  for (int i = 0; i < kLeaf; ++i) {
    const uint32_t index = distance2[i] == most ? static_cast<uint32_t>(leaf.index[i]) : 0xffffffff;
    lowest = index < lowest ? index : lowest;
  }
  return Farthest{float_bits(most)} << 32 | static_cast<uint32_t>(~lowest);
}

State::State(const BoxTree& tree) : tree(tree), distance2(tree.leaves.size()) {
  for (const auto& level : tree.levels) farthest.emplace_back(level.size());
  for (size_t place = 0; place < tree.leaves.size(); ++place) {
    const Leaf& leaf = tree.leaves[place];
    for (int i = 0; i < kLeaf; ++i) {
      const float point[3] = {leaf.x[i], leaf.y[i], leaf.z[i]};
      distance2[place][i] = is_finite(point) ? std::numeric_limits<float>::max() : 0;
    }
    farthest[0][place / kFan][place % kFan] = farthest_in(leaf, distance2[place]);
  }
  for (size_t level = 1; level < farthest.size(); ++level)
    for (size_t place = 0; place < farthest[level - 1].size(); ++place)
      farthest[level][place / kFan][place % kFan] = largest(farthest[level - 1][place]);
}

// Shortens the distances in a group of boxes by that to a new sample; the farthest point that is left.
POINTOPS_DISPATCHED
Farthest update(State& state, int level, int64_t place, const float* sample) {
  alignas(64) float near[kFan];
  state.tree.levels[level][place].distance2(sample, sample, near);
  auto& group = state.farthest[level][place];
  uint32_t changed = 0;
  for (int child = 0; child < kFan; ++child) changed |= near[child] < distance_of(group[child]) ? 1u << child : 0u;
  for (; changed; changed &= changed - 1) {
    const int child = __builtin_ctz(changed);
    const int64_t below = place * kFan + child;
    if (level > 0) {
      group[child] = update(state, level - 1, below, sample);
      continue;
    }
    const Leaf& leaf = state.tree.leaves[below];
    auto& before = state.distance2[below];
    alignas(64) float d2[kLeaf];
    distance2(leaf, sample, d2);
    for (int i = 0; i < kLeaf; ++i) before[i] = d2[i] < before[i] ? d2[i] : before[i];
    group[child] = farthest_in(leaf, before);
  }
  return largest(group);
}

}  // namespace

void farthest_point_sampling(const float* xyz, Clouds clouds, Clouds samples, int32_t* index) {
  at::parallel_for(0, clouds.count, 1, [&](int64_t first, int64_t last) {
    for (int64_t cloud = first; cloud < last; ++cloud) {
      const int64_t begin = clouds.begin(cloud), points = clouds.end(cloud) - begin;
      if (samples.begin(cloud) == samples.end(cloud)) continue;
      const BoxTree tree(xyz + 3 * begin, Clouds{&points, 1});
      State state(tree);
      const int top = static_cast<int>(tree.levels.size()) - 1;
      int32_t chosen = 0;
      for (int64_t i = samples.begin(cloud); i < samples.end(cloud); ++i) {
        index[i] = static_cast<int32_t>(begin) + chosen;
        if (i + 1 < samples.end(cloud)) chosen = index_of(update(state, top, 0, xyz + 3 * (begin + chosen)));
      }
    }
  });
}

}  // namespace pointops::cpu
