// Farthest point sampling: a new sample only walks down to the leaves that hold a point nearer to it than to all
// samples before; every node keeps the farthest point below it.
#include <ATen/Parallel.h>

#include <array>

#include "box_tree.h"

namespace pointops::cpu {
namespace {

// (bits of the squared distance to the samples, ~index): the largest is the farthest point, the lowest index of equals
using Farthest = uint64_t;

float distance_of(Farthest farthest) { return bits_float(high(farthest)); }
// Where no point has finite coordinates it is the first.
int32_t index_of(Farthest farthest) { return std::max(static_cast<int32_t>(~low(farthest)), 0); }

struct LeafState {
  float distance2[kLeaf];
};

class Sampler {
 public:
  Sampler(const float* xyz, int64_t points) : end_(points), tree_(xyz, Clouds{&end_, 1}) {
    for (const auto& level : tree_.levels) farthest_.emplace_back(level.size());
    for (const Leaf& leaf : tree_.leaves) {
      states_.emplace_back();
      for (int i = 0; i < kLeaf; ++i) {
        const float point[3] = {leaf.x[i], leaf.y[i], leaf.z[i]};
        states_.back().distance2[i] = is_finite(point) ? std::numeric_limits<float>::max() : 0;
      }
      keep(0, states_.size() - 1, farthest_in(leaf, states_.back()));
    }
    for (size_t level = 1; level < farthest_.size(); ++level)
      for (size_t place = 0; place < farthest_[level - 1].size(); ++place)
        keep(level, place, largest(farthest_[level - 1][place]));
  }

  // Takes point for a sample and returns the farthest of the others.
  int32_t farthest_from(const float* point) {
    return index_of(update(static_cast<int>(tree_.levels.size()) - 1, 0, point));
  }

 private:
  using Group = std::array<Farthest, kFan>;

  static Farthest largest(const Group& group) { return *std::max_element(group.begin(), group.end()); }

  static Farthest farthest_in(const Leaf& leaf, const LeafState& state) {
    float largest = 0;
    for (int i = 0; i < kLeaf; ++i) largest = std::max(largest, state.distance2[i]);
    uint32_t lowest = 0xffffffff;  // of an unused slot
    for (int i = 0; i < kLeaf; ++i)
      if (state.distance2[i] == largest) lowest = std::min(lowest, static_cast<uint32_t>(leaf.index[i]));
    return Farthest{float_bits(largest)} << 32 | static_cast<uint32_t>(~lowest);
  }

  void keep(size_t level, size_t place, Farthest farthest) { farthest_[level][place / kFan][place % kFan] = farthest; }

  Farthest update(int level, int64_t place, const float* point) {
    alignas(32) float near[kFan];
    tree_.levels[level][place].distance2(point, point, near);
    Group& group = farthest_[level][place];
    for (int child = 0; child < kFan; ++child) {
      if (!(near[child] < distance_of(group[child]))) continue;
      const int64_t below = place * kFan + child;
      group[child] = level > 0 ? update(level - 1, below, point) : update_leaf(below, point);
    }
    return largest(group);
  }

  Farthest update_leaf(int64_t number, const float* point) {
    const Leaf& leaf = tree_.leaves[number];
    LeafState& state = states_[number];
    alignas(64) float d2[kLeaf];
    distance2(leaf, point, d2);
    for (int i = 0; i < kLeaf; ++i) state.distance2[i] = d2[i] < state.distance2[i] ? d2[i] : state.distance2[i];
    return farthest_in(leaf, state);
  }

  int64_t end_;
  BoxTree tree_;
  std::vector<LeafState> states_;
  std::vector<std::vector<Group>> farthest_;  // below the boxes of tree_.levels
};

}  // namespace

void farthest_point_sampling(const float* xyz, Clouds clouds, Clouds samples, int32_t* index) {
  at::parallel_for(0, clouds.count, 1, [&](int64_t first, int64_t last) {
    for (int64_t cloud = first; cloud < last; ++cloud) {
      const int64_t begin = clouds.begin(cloud), points = clouds.end(cloud) - begin;
      if (samples.begin(cloud) == samples.end(cloud)) continue;
      Sampler sampler(xyz + 3 * begin, points);
      int32_t chosen = 0;
      for (int64_t i = samples.begin(cloud); i < samples.end(cloud); ++i) {
        index[i] = static_cast<int32_t>(begin) + chosen;
        if (i + 1 < samples.end(cloud)) chosen = sampler.farthest_from(xyz + 3 * (begin + chosen));
      }
    }
  });
}

}  // namespace pointops::cpu
