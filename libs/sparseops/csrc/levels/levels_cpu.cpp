// Levels of coarser voxels on the CPU.
#include "levels/levels_cpu.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

namespace sparseops {
namespace {

constexpr int64_t kGrain = 1 << 14;  // rows a thread takes at once

// The order of one level along one curve from that of the finer level.
void coarsen(const int32_t* finer_order, const CoarseLevel& level, const int64_t* parents, int32_t* order,
             int32_t* inverse) {
  int64_t before = -1, rank = -1;
  for (int64_t i = 0; i < level.finer_size; ++i) {
    const int64_t parent = parents[level.begin_parents + within(finer_order[i], level.finer_size)];
    if (parent == before) continue;
    before = parent;
    rank = std::min(rank + 1, level.size - 1);
    order[rank] = static_cast<int32_t>(parent);
    inverse[parent] = static_cast<int32_t>(rank);
  }
}

}  // namespace

void cloud_extents_cpu(const int64_t* coords, int64_t n, int32_t* extents) {
  std::fill_n(extents, 2 * (kMaxClouds + 1), 0);
  for (int64_t row = 0; row < n; ++row) {
    const int64_t* own = coords + 4 * row;
    const bool right = own[0] >= 0 && own[0] < kMaxClouds && (own[1] | own[2] | own[3]) >= 0;
    int32_t* extent = extents + 2 * (right ? own[0] : kMaxClouds);
    ++extent[0];
    const int64_t largest = std::max({own[1], own[2], own[3], static_cast<int64_t>(extent[1])});
    if (right) extent[1] = static_cast<int32_t>(std::min<int64_t>(largest, std::numeric_limits<int32_t>::max()));
  }
}

void coarse_ranks_cpu(const ShiftedVoxels& voxels, int64_t n, int num_levels, int32_t* ranks) {
  at::parallel_for(0, num_levels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t level = begin; level < end; ++level) {
      int32_t count = 0;
      for (int64_t row = 0; row < n; ++row) {
        count += voxels.differing(row) >> voxels.shift(static_cast<int>(level), voxels.coords[4 * row]) != 0;
        ranks[level * n + row] = count;
      }
    }
  });
  for (int level = 1; level < num_levels; ++level) {  // counted on from the level before
    const int32_t before = n > 0 ? ranks[level * n - 1] : 0;
    at::parallel_for(level * n, (level + 1) * n, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ranks[i] += before;
    });
  }
}

void coarse_rows_cpu(const ShiftedVoxels& voxels, const int32_t* ranks, int64_t n, const CoarseLevels& levels,
                     int64_t* coarse, int64_t* parents, int64_t* starts) {
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) place_row(voxels, ranks, levels, n, row, coarse, parents, starts);
  });
}

void coarse_orders_cpu(const int32_t* orders, int64_t num_curves, const int64_t* parents, const CoarseLevels& levels,
                       int32_t* coarse_orders, int32_t* coarse_inverses) {
  at::parallel_for(0, num_curves, 1, [&](int64_t begin, int64_t end) {
    for (int64_t curve = begin; curve < end; ++curve) {
      const int32_t* finer_order = levels.count > 0 ? orders + curve * levels.at[0].finer_size : nullptr;
      for (int l = 0; l < levels.count; ++l) {
        const CoarseLevel& level = levels.at[l];
        const int64_t first = num_curves * level.begin + curve * level.size;
        coarsen(finer_order, level, parents, coarse_orders + first, coarse_inverses + first);
        finer_order = coarse_orders + first;
      }
    }
  });
}

}  // namespace sparseops
