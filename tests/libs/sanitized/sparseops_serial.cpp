// Runs the CPU code of serialization, levels, segments, patches and attention on arrays of exactly their size.
#include <c10/util/Half.h>

#include <random>
#include <vector>

#include "arrays.h"
#include "attention/attention_cpu.h"
#include "levels/levels_cpu.h"
#include "patches/patches_cpu.h"
#include "segments/segments_cpu.h"
#include "serialization/serialization_cpu.h"

using namespace sparseops;

namespace {

std::mt19937 generator(1);
int64_t below(int64_t end) { return std::uniform_int_distribution<int64_t>(0, end - 1)(generator); }

void serialize(int64_t n, int depth, int64_t clouds, bool own_depths) {
  const int64_t curves[] = {2, 0, 1, 3, 2};
  auto coord = array<int32_t>(3 * n);
  auto batch = array<int64_t>(n), depths = array<int64_t>(n), codes = array<int64_t>(5 * n);
  for (int64_t i = 0; i < n; ++i) {
    depths[i] = own_depths ? 1 + below(depth) : depth;
    batch[i] = below(clouds);
    for (int axis = 0; axis < 3; ++axis) coord[3 * i + axis] = static_cast<int32_t>(below(int64_t{1} << depths[i]));
  }
  serialization_codes_cpu(coord.get(), batch.get(), own_depths ? depths.get() : nullptr, n, depth, curves, 5,
                          codes.get());
  auto orders = array<int64_t>(5 * n), inverses = array<int64_t>(5 * n);
  for (const int num_bits : {1, 3 * depth, 63}) {
    sort_codes_cpu(codes.get(), 5, n, num_bits, orders.get(), inverses.get());
    for (int64_t i = 0; i < 5 * n; ++i) require(orders[i / n * n + inverses[i]] == i % n, "not an inverse");
  }
}

// Voxels of a line, all of whose levels are consecutive; `right` says whether shifts and sizes are what they should be.
void coarsen(int64_t n, int64_t clouds, bool right) {
  constexpr int kLevels = 3;
  auto coords = array<int64_t>(4 * n), shifts = array<int64_t>(kLevels * clouds);
  for (int64_t i = 0; i < n; ++i) {
    coords[4 * i] = right ? i * clouds / n : below(2 * clouds) - clouds;
    for (int axis = 1; axis < 4; ++axis) coords[4 * i + axis] = i - (right ? 0 : below(n));
  }
  for (int64_t i = 0; i < kLevels * clouds; ++i) shifts[i] = i / clouds + (right ? 1 : below(100));
  auto extents = array<int32_t>(2 * (kMaxClouds + 1));
  cloud_extents_cpu(coords.get(), n, extents.get());
  const ShiftedVoxels voxels{coords.get(), shifts.get(), clouds};
  auto ranks = array<int32_t>(kLevels * n);
  coarse_ranks_cpu(voxels, n, kLevels, ranks.get());
  int64_t sizes[kLevels], rows = 0;
  for (int l = 0; l < kLevels; ++l) {
    sizes[l] = n == 0 ? 0 : right ? ranks[(l + 1) * n - 1] - rows : 1 + below(n);
    rows += sizes[l];
  }
  const CoarseLevels levels = coarse_levels(n, sizes, kLevels);
  auto coarse = array<int64_t>(4 * rows), starts = array<int64_t>(rows + kLevels);
  auto parents = array<int64_t>(n + rows - sizes[kLevels - 1]);
  coarse_rows_cpu(voxels, ranks.get(), n, levels, coarse.get(), parents.get(), starts.get());
  for (const int64_t curves : {0, 1, 3}) {
    auto orders = array<int32_t>(curves * n);
    for (int64_t i = 0; i < curves * n; ++i) orders[i] = static_cast<int32_t>(right ? i % n : below(3 * n) - n);
    auto coarse_order = array<int32_t>(curves * rows), coarse_inverse = array<int32_t>(curves * rows);
    coarse_orders_cpu(orders.get(), curves, parents.get(), levels, coarse_order.get(), coarse_inverse.get());
    for (int64_t i = 0; right && i < curves * sizes[0]; ++i) require(coarse_order[i] == i % sizes[0], "not in order");
  }
}

template <typename Value>
void reduce(const std::vector<int64_t>& lengths, int64_t channels) {
  const auto num_segments = static_cast<int64_t>(lengths.size());
  auto offsets = array<int64_t>(num_segments + 1);
  for (int64_t i = 0; i < num_segments; ++i) offsets[i + 1] = offsets[i] + lengths[i];
  auto values = array<Value>(offsets[num_segments] * channels), out = array<Value>(num_segments * channels);
  for (const auto reduction : {kSum, kMean, kMax, kMin}) {
    segment_reduce_cpu(values.get(), offsets.get(), num_segments, channels, reduction, out.get());
  }
}

void pad(const std::vector<int64_t>& counts, int64_t patch_size) {
  const auto num_clouds = static_cast<int64_t>(counts.size());
  auto offset = array<int64_t>(num_clouds);
  int64_t points = 0, padded = 0, patches = 0;
  for (int64_t i = 0; i < num_clouds; ++i) {
    const int64_t own = (counts[i] + patch_size - 1) / patch_size;
    offset[i] = points += counts[i];
    padded += own > 1 ? own * patch_size : counts[i];
    patches += own;
  }
  auto pad = array<int64_t>(padded), unpad = array<int64_t>(points);
  auto starts = array<int32_t>(patches + 1);
  patch_padding_cpu(offset.get(), num_clouds, patch_size, pad.get(), unpad.get(), starts.get());
  require(starts[patches] == padded, "the last patch does not end with the points");
}

void attend(const std::vector<int64_t>& lengths, int64_t heads, int64_t dim, bool biased) {
  const auto num_patches = static_cast<int64_t>(lengths.size());
  auto starts = array<int32_t>(num_patches + 1);
  for (int64_t i = 0; i < num_patches; ++i) starts[i + 1] = starts[i] + static_cast<int32_t>(lengths[i]);
  auto qkv = array<float>(starts[num_patches] * 3 * heads * dim), out = array<float>(starts[num_patches] * heads * dim);
  constexpr int64_t kBound = 3;
  auto table = array<float>(biased ? 3 * (2 * kBound + 1) * heads : 0);
  auto voxels = array<int32_t>(biased ? 3 * starts[num_patches] : 0);
  for (int64_t i = 0; biased && i < 3 * starts[num_patches]; ++i) voxels[i] = static_cast<int32_t>(below(20)) - 10;
  const Positions positions{biased ? table.get() : nullptr, voxels.get(), kBound};
  patch_attention_cpu(qkv.get(), starts.get(), num_patches, heads, dim, 0.5f, positions, out.get());
}

}  // namespace

int main() {
  for (const int64_t n : {0, 1, 127, 128, 129, 70000}) {
    serialize(n, 1, 1, false);
    serialize(n, 12, 5, true);
    serialize(n, 16, 1 << 15, false);
  }
  for (const int64_t n : {0, 1, 100, 70000}) {
    coarsen(n, 1, true);
    coarsen(n, 3, true);
    if (n > 0) coarsen(n, 5, false);
  }
  for (const int64_t channels : {0, 1, 64, 65, 200}) {
    for (const auto& lengths : {std::vector<int64_t>{}, {0}, {3, 0, 1, 500}}) {
      reduce<float>(lengths, channels);
      reduce<c10::Half>(lengths, channels);
    }
  }
  for (const int64_t patch_size : {1, 7, 48}) {
    for (const auto& counts : {std::vector<int64_t>{}, {0, 0}, {1}, {48, 49, 0, 500}}) pad(counts, patch_size);
  }
  for (const int64_t dim : {1, 5, 16, 33}) {
    for (const auto& lengths : {std::vector<int64_t>{}, {0}, {1}, {15, 16, 17, 0, 100}}) attend(lengths, 3, dim, false);
    attend({31, 31}, 2, dim, true);
  }
  std::puts("right");
}
