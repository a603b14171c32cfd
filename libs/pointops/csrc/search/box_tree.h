// Points along a Hilbert curve in leaves of kLeaf, boxes around them, boxes around kFan boxes, and so on. It adapts to
// any density and to far outliers, where a uniform grid would put most points into one cell.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "search/numbers.h"
#include "search/search_cpu.h"

// A function compiled for several instruction sets, chosen when the library is loaded.
#ifndef POINTOPS_DISPATCHED
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
#define POINTOPS_DISPATCHED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define POINTOPS_DISPATCHED
#endif
#endif

namespace pointops::cpu {

#define POINTOPS_INLINE inline __attribute__((always_inline))

constexpr int kLeaf = 16, kFan = 8;

struct Leaf {
  float x[kLeaf], y[kLeaf], z[kLeaf];  // not a number behind the last point
  int32_t index[kLeaf];
};

struct Boxes {
  float low[3][kFan], high[3][kFan];  // low > high where there is nothing
  int32_t first[kFan];  // the least index of a finite point within; the largest number where there is none

  // Squared distances to the box from point to corner.
  POINTOPS_INLINE void distance2(const float* point, const float* corner, float* result) const {
    for (int i = 0; i < kFan; ++i) {
      const float x = gap(low[0][i] - corner[0], point[0] - high[0][i]);
      const float y = gap(low[1][i] - corner[1], point[1] - high[1][i]);
      const float z = gap(low[2][i] - corner[2], point[2] - high[2][i]);
      result[i] = squared_length(x, y, z);
    }
  }
};

std::vector<Leaf> leaves_along_curve(const float* xyz, Clouds clouds);

struct BoxTree {
  BoxTree(const float* xyz, Clouds clouds);

  std::vector<Leaf> leaves;
  // levels[0][g] holds the boxes of leaves kFan * g …, levels[l][g] those of the groups kFan * g … of the level below;
  // the last level has one group
  std::vector<std::vector<Boxes>> levels;

  // How many positions lie under a node of level (-1: a leaf). A cloud takes the same positions in the tree as rows.
  static int64_t positions_under(int level) {
    int64_t positions = kLeaf;
    for (; level >= 0; --level) positions *= kFan;
    return positions;
  }
};

POINTOPS_INLINE void distance2(const Leaf& leaf, const float* point, float* result) {
  for (int i = 0; i < kLeaf; ++i) {
    const float x = point[0] - leaf.x[i], y = point[1] - leaf.y[i], z = point[2] - leaf.z[i];
    result[i] = squared_length(x, y, z);
  }
}

}  // namespace pointops::cpu
