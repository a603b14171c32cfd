// Kernel maps from sorted keys: the neighbours of ascending voxels ascend too, so that one walk finds them all.
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "maps/maps_cpu.h"

namespace sparseops {
namespace {

constexpr int64_t GRAIN = 4096;  // voxels a thread takes at once
constexpr int DIGIT_BITS = 11;

struct Bounds {
  std::array<int64_t, 4> low, high;
};

Bounds bounds_of(const int64_t* coords, int64_t num) {
  Bounds bounds;
  for (int axis = 0; axis < 4; ++axis) bounds.low[axis] = bounds.high[axis] = num > 0 ? coords[axis] : 0;
  for (int64_t i = 0; i < num; ++i)
    for (int axis = 0; axis < 4; ++axis) {
      bounds.low[axis] = std::min(bounds.low[axis], coords[4 * i + axis]);
      bounds.high[axis] = std::max(bounds.high[axis], coords[4 * i + axis]);
    }
  return bounds;
}

// Stable sort by the low bits, digit by digit.
void radix_sort(std::vector<uint64_t>& keys, std::vector<int32_t>& order, int bits) {
  std::vector<uint64_t> keys_to(keys.size());
  std::vector<int32_t> order_to(order.size());
  for (int low = 0; low < bits; low += DIGIT_BITS) {
    std::array<size_t, (1 << DIGIT_BITS) + 1> start{};
    const auto digit = [low](uint64_t key) { return key >> low & ((1 << DIGIT_BITS) - 1); };
    for (const uint64_t key : keys) ++start[digit(key) + 1];
    for (size_t d = 1; d < start.size(); ++d) start[d] += start[d - 1];
    for (size_t i = 0; i < keys.size(); ++i) {
      const size_t to = start[digit(keys[i])]++;
      keys_to[to] = keys[i];
      order_to[to] = order[i];
    }
    keys.swap(keys_to);
    order.swap(order_to);
  }
}

}  // namespace

bool within_limits(const int64_t* coords, int64_t num) {
  const Bounds bounds = bounds_of(coords, num);
  return *std::min_element(bounds.low.begin(), bounds.low.end()) >= 0 && bounds.high[0] < BATCH_LIMIT &&
         *std::max_element(bounds.high.begin() + 1, bounds.high.end()) < COORD_LIMIT;
}

Keys sort_keys(const int64_t* coords, int64_t num, int64_t margin, int shift) {
  const Bounds bounds = bounds_of(coords, num);
  std::array<uint64_t, 4> size;  // voxels along an axis, the margin after the last one; 2^63.1 in all at most
  for (int axis = 0; axis < 4; ++axis)
    size[axis] =
        (bounds.high[axis] >> (axis ? shift : 0)) - (bounds.low[axis] >> (axis ? shift : 0)) + 1 + (axis ? margin : 0);
  Keys keys;
  keys.step_y = size[3];
  keys.step_x = size[3] * size[2];
  const uint64_t step_batch = keys.step_x * size[1];
  keys.sorted.resize(num);
  keys.order.resize(num);
  at::parallel_for(0, num, GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t* at = coords + 4 * i;
      keys.sorted[i] =
          (at[0] - bounds.low[0]) * step_batch + ((at[1] >> shift) - (bounds.low[1] >> shift)) * keys.step_x +
          ((at[2] >> shift) - (bounds.low[2] >> shift)) * keys.step_y + ((at[3] >> shift) - (bounds.low[3] >> shift));
      keys.order[i] = static_cast<int32_t>(i);
    }
  });
  if (!std::is_sorted(keys.sorted.begin(), keys.sorted.end())) {
    const uint64_t last = *std::max_element(keys.sorted.begin(), keys.sorted.end());
    int bits = 0;
    while (bits < 64 && last >> bits != 0) ++bits;
    radix_sort(keys.sorted, keys.order, bits);
  }
  return keys;
}

bool has_duplicates(const Keys& keys) {
  return std::adjacent_find(keys.sorted.begin(), keys.sorted.end()) != keys.sorted.end();
}

void submanifold_table(const Keys& keys, int64_t kernel_size, int32_t* rows) {
  const int64_t num = keys.sorted.size(), half = kernel_size / 2, num_offsets = kernel_size * kernel_size * kernel_size;
  const uint64_t* sorted = keys.sorted.data();
  const int32_t* order = keys.order.data();
  at::parallel_for(0, num_offsets * num, 16 * GRAIN,
                   [&](int64_t begin, int64_t end) { std::fill(rows + begin, rows + end, -1); });
  // Half of the offsets are looked up; the opposite ones have the same pairs backwards. Each entry has one writer.
  at::parallel_for(0, num, GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t column = 0; column <= kernel_size * kernel_size / 2; ++column) {
      const bool is_last = column == kernel_size * kernel_size / 2;  // the voxel's own column, below it and itself
      const int64_t dx = column / kernel_size - half, dy = column % kernel_size - half;
      const uint64_t back = -dx * keys.step_x - dy * keys.step_y + half;  // from a voxel to the column's first
      const uint64_t reach = is_last ? half : 2 * half;
      const auto target_of = [&](int64_t i) { return sorted[i] < back ? 0 : sorted[i] - back; };
      int64_t low = std::lower_bound(sorted, sorted + begin, target_of(begin)) - sorted;
      int32_t* const forwards = rows + column * kernel_size * num;
      int32_t* const backwards = rows + (num_offsets - 1 - column * kernel_size) * num;
      for (int64_t i = begin; i < end; ++i) {
        if (sorted[i] + reach < back) continue;
        while (sorted[low] + back < sorted[i]) ++low;
        for (int64_t j = low; j < num && sorted[j] + back <= sorted[i] + reach; ++j) {
          const int64_t dz = static_cast<int64_t>(sorted[j] + back - sorted[i]);
          forwards[dz * num + order[i]] = order[j];
          backwards[order[j] - dz * num] = order[i];
        }
      }
    }
  });
}

int64_t coarser_voxels(const int64_t* coords, int64_t num, int32_t* parent, int64_t* coarse) {
  const Keys keys = sort_keys(coords, num, 0, 1);
  int64_t num_coarse = 0;
  for (int64_t i = 0; i < num; ++i) {
    if (i == 0 || keys.sorted[i] != keys.sorted[i - 1]) {
      const int64_t* at = coords + 4 * int64_t{keys.order[i]};
      const int64_t voxel[4] = {at[0], at[1] >> 1, at[2] >> 1, at[3] >> 1};
      std::copy(voxel, voxel + 4, coarse + 4 * num_coarse++);
    }
    parent[keys.order[i]] = static_cast<int32_t>(num_coarse - 1);
  }
  return num_coarse;
}

bool strided_tables(const int64_t* coords, int64_t num, const int32_t* parent, int64_t num_coarse, int32_t* children,
                    int32_t* parents) {
  std::fill(children, children + 8 * num_coarse, -1);
  std::fill(parents, parents + 8 * num, -1);
  bool distinct = true;
  for (int64_t i = 0; i < num; ++i) {
    const int64_t* at = coords + 4 * i;
    const int64_t offset = (at[1] & 1) * 4 + (at[2] & 1) * 2 + (at[3] & 1);
    int32_t& child = children[offset * num_coarse + parent[i]];
    distinct &= child < 0;
    child = static_cast<int32_t>(i);
    parents[offset * num + i] = parent[i];
  }
  return distinct;
}

}  // namespace sparseops
