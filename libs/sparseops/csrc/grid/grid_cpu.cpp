// Points to the voxels of a grid on the CPU: keys, a split by their highest bits, and a sort of each part.
#include "grid/grid_cpu.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

namespace sparseops {
namespace {

constexpr int64_t kGrain = 1 << 14;   // points a thread takes at once
constexpr int64_t kPartPoints = 512;  // of the sort, where keys are even: they stay in the first cache
constexpr int kMostPartBits = 12;

struct Box {
  int64_t low[3] = {INT64_MAX, INT64_MAX, INT64_MAX}, high[3] = {INT64_MIN, INT64_MIN, INT64_MIN};

  void include(const Box& other) {
    for (int axis = 0; axis < 3; ++axis) {
      low[axis] = std::min(low[axis], other.low[axis]);
      high[axis] = std::max(high[axis], other.high[axis]);
    }
  }
};

struct Range {
  uint64_t low = UINT64_MAX, high = 0;

  void include(const Range& other) {
    low = std::min(low, other.low);
    high = std::max(high, other.high);
  }
};

struct Keyed {
  uint64_t key;
  uint32_t point;
  bool operator<(const Keyed& other) const { return key != other.key ? key < other.key : point < other.point; }
};

// Chunks of n items for the threads of torch: work(chunk, begin, end).
struct Chunks {
  int64_t n, count, size;
  explicit Chunks(int64_t items)
      : n(items),
        count(std::clamp<int64_t>(at::get_num_threads(), 1, (items + kGrain - 1) / kGrain)),
        size((items + count - 1) / count) {}
  template <typename Work>
  void each(Work work) const {
    at::parallel_for(0, count, 1, [&](int64_t first, int64_t last) {
      for (int64_t chunk = first; chunk < last; ++chunk) {
        work(chunk, chunk * size, std::min(n, (chunk + 1) * size));
      }
    });
  }
};

// Cells as they are, and the box around them; false where a coordinate has none.
template <typename Coord>
bool find_cells(const Coord* coord, const Chunks& chunks, const double* grid_size, int64_t* cells, Box* box) {
  std::vector<Box> boxes(chunks.count);
  std::atomic<bool> all_there{true};
  chunks.each([&](int64_t chunk, int64_t begin, int64_t end) {
    Box own;
    for (int64_t i = begin; i < end; ++i) {
      for (int axis = 0; axis < 3; ++axis) {
        int64_t cell = 0;
        if (!cell_of(coord[3 * i + axis], grid_size[axis], &cell)) {
          all_there = false;
          return;
        }
        cells[3 * i + axis] = cell;
        own.low[axis] = std::min(own.low[axis], cell);
        own.high[axis] = std::max(own.high[axis], cell);
      }
    }
    boxes[chunk] = own;
  });
  for (const Box& own : boxes) box->include(own);
  return all_there;
}

// Cells from 0 on, their keys, and the range of these: of few voxels a thin part of 2^64, by either hash.
Range find_keys(const Chunks& chunks, const Box& box, Hash hash, int64_t* cells, uint64_t* keys) {
  const auto height = static_cast<uint64_t>(box.high[1] - box.low[1] + 1);
  const auto depth = static_cast<uint64_t>(box.high[2] - box.low[2] + 1);
  std::vector<Range> ranges(chunks.count);
  chunks.each([&](int64_t chunk, int64_t begin, int64_t end) {
    Range own;
    for (int64_t i = begin; i < end; ++i) {
      int64_t* cell = cells + 3 * i;
      for (int axis = 0; axis < 3; ++axis) cell[axis] -= box.low[axis];
      keys[i] = key_of(hash, cell[0], cell[1], cell[2], height, depth);
      own.include({keys[i], keys[i]});
    }
    ranges[chunk] = own;
  });
  Range range;
  for (const Range& own : ranges) range.include(own);
  return range;
}

int bit_length(uint64_t value) { return value == 0 ? 0 : 64 - __builtin_clzll(value); }

// Keys with their points, ascending by both.
std::unique_ptr<Keyed[]> sorted(const uint64_t* keys, const Chunks& chunks, Range range) {
  const int part_bits = std::clamp(bit_length(chunks.n / kPartPoints), 1, kMostPartBits);
  const int shift = std::max(0, bit_length(range.high - range.low) - part_bits);
  const int64_t parts = int64_t{1} << part_bits;
  const auto part_of = [&](int64_t i) { return static_cast<int64_t>((keys[i] - range.low) >> shift); };
  std::unique_ptr<Keyed[]> pairs(new Keyed[chunks.n]);
  std::vector<int64_t> next(chunks.count * parts), part_starts(parts + 1);
  chunks.each([&](int64_t chunk, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++next[chunk * parts + part_of(i)];
  });
  int64_t start = 0;
  for (int64_t part = 0; part < parts; ++part) {
    part_starts[part] = start;
    for (int64_t chunk = 0; chunk < chunks.count; ++chunk) start += std::exchange(next[chunk * parts + part], start);
  }
  part_starts[parts] = start;
  chunks.each([&](int64_t chunk, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      pairs[next[chunk * parts + part_of(i)]++] = {keys[i], static_cast<uint32_t>(i)};
    }
  });
  at::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      std::sort(pairs.get() + part_starts[part], pairs.get() + part_starts[part + 1]);
    }
  });
  return pairs;
}

}  // namespace

template <typename Coord>
int64_t grid_sample_cpu(const Coord* coord, int64_t n, const double* grid_size, Hash hash, const GridOutputs& out) {
  const Chunks chunks(n);
  Box box;
  if (!find_cells(coord, chunks, grid_size, out.grid_coord, &box)) return -1;
  std::copy_n(box.low, 3, out.lowest);
  std::unique_ptr<uint64_t[]> keys(new uint64_t[n]);
  const Range range = find_keys(chunks, box, hash, out.grid_coord, keys.get());
  const std::unique_ptr<Keyed[]> pairs = sorted(keys.get(), chunks, range);

  const auto begins_voxel = [&](int64_t i) { return i == 0 || pairs[i].key != pairs[i - 1].key; };
  std::vector<int64_t> voxels_before(chunks.count);
  chunks.each([&](int64_t chunk, int64_t begin, int64_t end) {
    int64_t own = 0;
    for (int64_t i = begin; i < end; ++i) own += begins_voxel(i);
    voxels_before[chunk] = own;
  });
  int64_t num_voxels = 0;
  for (int64_t& before : voxels_before) num_voxels += std::exchange(before, num_voxels);
  chunks.each([&](int64_t chunk, int64_t begin, int64_t end) {
    int64_t voxel = voxels_before[chunk] - 1;
    for (int64_t i = begin; i < end; ++i) {
      if (begins_voxel(i)) out.offsets[++voxel] = i;
      out.order[i] = pairs[i].point;
      out.inverse[pairs[i].point] = voxel;
    }
  });
  out.offsets[num_voxels] = n;
  return num_voxels;
}

template int64_t grid_sample_cpu(const float*, int64_t, const double*, Hash, const GridOutputs&);
template int64_t grid_sample_cpu(const double*, int64_t, const double*, Hash, const GridOutputs&);

}  // namespace sparseops
