#include "search/box_tree.h"

#include <ATen/Parallel.h>

#include <array>
#include <cmath>
#include <utility>

#include "search/curve.h"

namespace pointops::cpu {

int64_t Clouds::of(int64_t row) const { return std::upper_bound(offset, offset + count, row) - offset; }

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kManyInCell = 16 * kLeaf;

struct Placed {
  uint64_t code;
  int32_t index;
};

std::array<float, 6> no_bounds() { return {kInfinity, kInfinity, kInfinity, -kInfinity, -kInfinity, -kInfinity}; }

void extend(std::array<float, 6>& bounds, const float* point) {
  if (!is_finite(point)) return;
  for (int axis = 0; axis < 3; ++axis) {
    bounds[axis] = std::min(bounds[axis], point[axis]);
    bounds[3 + axis] = std::max(bounds[3 + axis], point[axis]);
  }
}

// low x, y, z, high x, y, z of the middle of a sample; low > high where it has no finite point.
std::array<float, 6> middle_of(const float* xyz, int64_t points) {
  std::array<float, 6> middle = no_bounds();
  std::array<std::vector<float>, 3> sample;
  for (int number = 0; number < kSample && points > 0; ++number) {
    const float* point = xyz + 3 * sampled_row(number, points);
    if (!is_finite(point)) continue;
    for (int axis = 0; axis < 3; ++axis) sample[axis].push_back(point[axis]);
  }
  for (int axis = 0; axis < 3; ++axis) {
    std::vector<float>& values = sample[axis];
    if (values.empty()) continue;
    std::sort(values.begin(), values.end());
    const size_t outside = values.size() / kOutside;
    middle[axis] = values[outside];
    middle[3 + axis] = values[values.size() - 1 - outside];
  }
  return middle;
}

// Stable, by code: eight bits at a time, those left out in which all codes agree. `other` has room for as many.
void radix_sort(Placed* items, Placed* other, int64_t size) {
  std::array<std::array<int64_t, 256>, 8> counts{};
  for (int64_t i = 0; i < size; ++i)
    for (int byte = 0; byte < 8; ++byte) ++counts[byte][items[i].code >> (8 * byte) & 255];
  Placed *from = items, *to = other;
  for (int byte = 0; byte < 8; ++byte) {
    auto& count = counts[byte];
    if (std::find(count.begin(), count.end(), size) != count.end()) continue;
    int64_t next = 0;
    for (int64_t& c : count) next += std::exchange(c, next);
    for (int64_t i = 0; i < size; ++i) to[count[from[i].code >> (8 * byte) & 255]++] = from[i];
    std::swap(from, to);
  }
  if (from != items) std::copy_n(from, size, items);
}

// Sorts by code, and points of a cell that holds many along a curve through the cell, and so on: else leaves in which
// they lie in the order of their indices would all reach through the cell. Points at one place stay in that order.
void sort_along(Placed* items, Placed* other, int64_t size, const float* xyz) {
  radix_sort(items, other, size);
  for (int64_t begin = 0, end; begin < size; begin = end) {
    for (end = begin + 1; end < size && items[end].code == items[begin].code;) ++end;
    if (end - begin <= kManyInCell) continue;
    std::array<float, 6> bounds = no_bounds();
    for (int64_t i = begin; i < end; ++i) extend(bounds, xyz + 3 * static_cast<int64_t>(items[i].index));
    const Curve curve(bounds.data(), 1);
    bool is_split = false;
    for (int64_t i = begin; i < end; ++i) {
      items[i].code = curve.code(xyz + 3 * static_cast<int64_t>(items[i].index), 0);
      is_split |= items[i].code != items[begin].code;
    }
    if (is_split) sort_along(items + begin, other, end - begin, xyz);
  }
}

std::vector<Placed> along_curve(const float* xyz, Clouds clouds, int64_t points) {
  std::array<float, 6> bounds = no_bounds();
  for (int64_t i = 0; i < points; ++i) extend(bounds, xyz + 3 * i);
  draw_in(bounds.data(), middle_of(xyz, points).data());
  const Curve curve(bounds.data(), clouds.count);
  std::vector<Placed> placed(points);
  at::parallel_for(0, points, 16384, [&](int64_t first, int64_t last) {
    int64_t cloud = clouds.of(first);
    for (int64_t i = first; i < last; ++i) {
      while (i >= clouds.end(cloud)) ++cloud;
      placed[i] = {curve.code(xyz + 3 * i, cloud), static_cast<int32_t>(i)};
    }
  });
  std::vector<Placed> other(points);
  sort_along(placed.data(), other.data(), points, xyz);
  return placed;
}

Boxes empty_boxes() {
  Boxes boxes;
  std::fill_n(&boxes.low[0][0], 3 * kFan, kInfinity);
  std::fill_n(&boxes.high[0][0], 3 * kFan, -kInfinity);
  std::fill_n(boxes.first, kFan, std::numeric_limits<int32_t>::max());
  return boxes;
}

void surround(Boxes& boxes, int slot, const Leaf& leaf) {
  for (int i = 0; i < kLeaf; ++i) {
    const float point[3] = {leaf.x[i], leaf.y[i], leaf.z[i]};
    if (!is_finite(point)) continue;
    boxes.first[slot] = std::min(boxes.first[slot], leaf.index[i]);
    for (int axis = 0; axis < 3; ++axis) {
      boxes.low[axis][slot] = std::min(boxes.low[axis][slot], point[axis]);
      boxes.high[axis][slot] = std::max(boxes.high[axis][slot], point[axis]);
    }
  }
}

void surround(Boxes& boxes, int slot, const Boxes& inner) {
  boxes.first[slot] = *std::min_element(inner.first, inner.first + kFan);
  for (int axis = 0; axis < 3; ++axis) {
    boxes.low[axis][slot] = *std::min_element(inner.low[axis], inner.low[axis] + kFan);
    boxes.high[axis][slot] = *std::max_element(inner.high[axis], inner.high[axis] + kFan);
  }
}

template <class Child>
std::vector<Boxes> boxes_around(const std::vector<Child>& children) {
  const int64_t count = static_cast<int64_t>(children.size());
  std::vector<Boxes> groups((count + kFan - 1) / kFan);
  at::parallel_for(0, static_cast<int64_t>(groups.size()), 256, [&](int64_t first, int64_t last) {
    for (int64_t group = first; group < last; ++group) {
      groups[group] = empty_boxes();
      for (int slot = 0; slot < kFan && kFan * group + slot < count; ++slot)
        surround(groups[group], slot, children[kFan * group + slot]);
    }
  });
  return groups;
}

}  // namespace

std::vector<Leaf> leaves_along_curve(const float* xyz, Clouds clouds) {
  const int64_t points = clouds.end(clouds.count - 1);
  const std::vector<Placed> placed = along_curve(xyz, clouds, points);
  std::vector<Leaf> leaves((points + kLeaf - 1) / kLeaf);
  at::parallel_for(0, static_cast<int64_t>(leaves.size()), 512, [&](int64_t first, int64_t last) {
    for (int64_t position = first * kLeaf; position < last * kLeaf; ++position) {
      Leaf& leaf = leaves[position / kLeaf];
      const int64_t slot = position % kLeaf;
      const int32_t row = position < points ? placed[position].index : -1;
      const float* point = xyz + 3 * static_cast<int64_t>(std::max(row, 0));
      leaf.x[slot] = row < 0 ? std::nanf("") : point[0];
      leaf.y[slot] = row < 0 ? std::nanf("") : point[1];
      leaf.z[slot] = row < 0 ? std::nanf("") : point[2];
      leaf.index[slot] = row;
    }
  });
  return leaves;
}

BoxTree::BoxTree(const float* xyz, Clouds clouds) : leaves(leaves_along_curve(xyz, clouds)) {
  levels.push_back(boxes_around(leaves));
  while (levels.back().size() > 1) levels.push_back(boxes_around(levels.back()));
}

}  // namespace pointops::cpu
