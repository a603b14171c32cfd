#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "ball_query/ball_query_cpu.h"
#include "ball_query/grid.h"

namespace pointgroup_ops {
namespace {

constexpr int64_t kPointsPerChunk = 1024;
constexpr int kBlock = 64;

struct Entry {
  int64_t key;
  int32_t point;
};

// Stable sort by key, byte by byte; bytes that all keys share cost no move.
void sort_by_key(std::vector<Entry>& entries) {
  std::vector<Entry> sorted(entries.size());
  for (int shift = 0; shift < 64; shift += 8) {
    std::array<size_t, 256> places{};
    const auto digit = [shift](const Entry& entry) { return static_cast<uint8_t>(entry.key >> shift); };
    for (const Entry& entry : entries) ++places[digit(entry)];
    if (std::find(places.begin(), places.end(), entries.size()) != places.end()) continue;
    std::exclusive_scan(places.begin(), places.end(), places.begin(), size_t{0});
    for (const Entry& entry : entries) sorted[places[digit(entry)]++] = entry;
    entries.swap(sorted);
  }
}

// Distinct indices below a limit, taken out in ascending order.
class IndexSet {
 public:
  explicit IndexSet(int64_t limit) : words_((limit >> 6) + 1), groups_((limit >> 12) + 1) {}

  void insert(int32_t index) {
    words_[index >> 6] |= uint64_t{1} << (index & 63);
    groups_[index >> 12] |= uint64_t{1} << (index >> 6 & 63);
  }

  void drain(std::vector<int32_t>& indices) {
    for (size_t group = 0; group < groups_.size(); ++group) {
      for (; groups_[group] != 0; groups_[group] &= groups_[group] - 1) {
        const size_t word = group << 6 | lowest_bit(groups_[group]);
        for (; words_[word] != 0; words_[word] &= words_[word] - 1) {
          indices.push_back(static_cast<int32_t>(word << 6 | lowest_bit(words_[word])));
        }
      }
    }
  }

 private:
  static size_t lowest_bit(uint64_t bits) { return __builtin_ctzll(bits); }

  std::vector<uint64_t> words_;   // a bit an index
  std::vector<uint64_t> groups_;  // a bit a word that is not 0
};

struct Cell {
  int64_t key;
  int64_t begin;  // first of its entries
};

// Points by cell, and the occupied cells, closed by one of the highest key.
struct CellList {
  Grid grid;
  std::vector<Entry> entries;
  std::vector<Cell> cells;
};

CellList sort_into_cells(const Points& points, float radius) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float low[3] = {kInfinity, kInfinity, kInfinity}, high[3] = {-kInfinity, -kInfinity, -kInfinity};
  for (int64_t i = 0; i < 3 * points.num_points; ++i) {
    const float value = points.coords[i];
    if (!std::isfinite(value)) continue;
    low[i % 3] = std::min(low[i % 3], value);
    high[i % 3] = std::max(high[i % 3], value);
  }
  CellList list{make_grid(low, high, radius, bits_per_axis(points.num_clouds)), {}, {}};
  list.entries.reserve(points.num_points);
  for (int64_t i = 0; i < points.num_points; ++i) {
    const int64_t key = list.grid.key(points.batch_idxs[i], points.coords + 3 * i);
    if (key != kNoCell) list.entries.push_back({key, static_cast<int32_t>(i)});
  }
  sort_by_key(list.entries);
  const int64_t num_entries = static_cast<int64_t>(list.entries.size());
  for (int64_t i = 0; i < num_entries; ++i) {
    if (i == 0 || list.entries[i].key != list.entries[i - 1].key) list.cells.push_back({list.entries[i].key, i});
  }
  list.cells.push_back({kNoCell, num_entries});
  return list;
}

// The points in and around a cell by ascending index, coordinates apart for vector instructions.
class Candidates {
 public:
  explicit Candidates(int64_t num_points) : around_(num_points) {}

  void gather(const CellList& list, const Points& points, int64_t key, std::array<int64_t, kRows>& cursors) {
    idxs_.clear();
    for (int row = 0; row < kRows; ++row) {
      const int64_t first = list.grid.row(key, row);
      int64_t& cell = cursors[row];
      while (list.cells[cell].key < first) ++cell;
      for (int64_t next = cell; list.cells[next].key <= first + 2; ++next) {
        for (int64_t i = list.cells[next].begin; i < list.cells[next + 1].begin; ++i) {
          around_.insert(list.entries[i].point);
        }
      }
    }
    around_.drain(idxs_);
    for (auto& axis : coords_) axis.resize(idxs_.size());
    for (size_t i = 0; i < idxs_.size(); ++i) {
      for (int axis = 0; axis < 3; ++axis) coords_[axis][i] = points.coords[3 * int64_t{idxs_[i]} + axis];
    }
  }

  // Writes the first kMaxNeighbours near ``point`` to ``out``, which has room for kBlock more, and returns their
  // number.
  int32_t near(const float* point, float squared_radius, int32_t* out) const {
    const float x = point[0], y = point[1], z = point[2];
    const int64_t num_candidates = static_cast<int64_t>(idxs_.size());
    int32_t count = 0;
    for (int64_t begin = 0; begin < num_candidates && count < kMaxNeighbours; begin += kBlock) {
      const int size = static_cast<int>(std::min<int64_t>(kBlock, num_candidates - begin));
      const float *xs = coords_[0].data() + begin, *ys = coords_[1].data() + begin, *zs = coords_[2].data() + begin;
      std::array<uint8_t, kBlock> hits{};
      for (int i = 0; i < size; ++i) hits[i] = is_near(x, y, z, xs[i], ys[i], zs[i], squared_radius);
      for (int i = 0; i < kBlock; i += 8) {
        uint64_t eight;  // most are 0
        std::memcpy(&eight, hits.data() + i, sizeof(eight));
        for (; eight != 0; eight &= eight - 1) out[count++] = idxs_[begin + i + __builtin_ctzll(eight) / 8];
      }
    }
    return std::min(count, kMaxNeighbours);
  }

 private:
  IndexSet around_;
  std::vector<int32_t> idxs_;
  std::array<std::vector<float>, 3> coords_;
};

// Neighbours of the entries from begin to end, one after the other; lengths go to start_len.
std::vector<int32_t> query(const CellList& list, const Points& points, float squared_radius, int64_t begin, int64_t end,
                           Candidates& candidates, int32_t* start_len) {
  std::vector<int32_t> found;
  std::array<int32_t, kMaxNeighbours + kBlock> near;
  std::array<int64_t, kRows> cursors{};
  const auto lower = [&](int64_t key) {
    const auto before = [](const Cell& cell, int64_t value) { return cell.key < value; };
    return std::lower_bound(list.cells.begin(), list.cells.end(), key, before) - list.cells.begin();
  };
  for (int row = 0; row < kRows; ++row) cursors[row] = lower(list.grid.row(list.entries[begin].key, row));
  for (int64_t i = begin; i < end; ++i) {
    const auto [key, point] = list.entries[i];
    if (i == begin || key != list.entries[i - 1].key) candidates.gather(list, points, key, cursors);
    const int32_t length = candidates.near(points.coords + 3 * int64_t{point}, squared_radius, near.data());
    found.insert(found.end(), near.begin(), near.begin() + length);
    start_len[2 * int64_t{point} + 1] = length;
  }
  return found;
}

}  // namespace

void ball_query(const Points& points, float radius, int32_t* start_len,
                const std::function<int32_t*(int64_t num_pairs)>& allocate) {
  const CellList list = sort_into_cells(points, radius);
  const int64_t num_entries = static_cast<int64_t>(list.entries.size());
  const int64_t num_chunks = (num_entries + kPointsPerChunk - 1) / kPointsPerChunk;
  std::fill_n(start_len, 2 * points.num_points, 0);

  std::vector<std::vector<int32_t>> found(num_chunks);
  // threads take every n-th chunk: dense places, which take longest, are spread over them
  const int64_t num_tasks = std::min<int64_t>(num_chunks, 4 * at::get_num_threads());
  at::parallel_for(0, num_tasks, 1, [&](int64_t first, int64_t last) {
    Candidates candidates(points.num_points);
    for (int64_t task = first; task < last; ++task) {
      for (int64_t chunk = task; chunk < num_chunks; chunk += num_tasks) {
        const int64_t begin = chunk * kPointsPerChunk, end = std::min(begin + kPointsPerChunk, num_entries);
        found[chunk] = query(list, points, radius * radius, begin, end, candidates, start_len);
      }
    }
  });

  int64_t num_pairs = 0;
  for (int64_t point = 0; point < points.num_points; ++point) num_pairs += start_len[2 * point + 1];
  int32_t* out = allocate(num_pairs);
  int32_t start = 0;
  for (int64_t point = 0; point < points.num_points; ++point) {
    start_len[2 * point] = start;
    start += start_len[2 * point + 1];
  }
  at::parallel_for(0, num_chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t chunk = first; chunk < last; ++chunk) {
      const int32_t* next = found[chunk].data();
      const int64_t begin = chunk * kPointsPerChunk, end = std::min(begin + kPointsPerChunk, num_entries);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t point = list.entries[i].point;
        const int32_t length = start_len[2 * point + 1];
        std::copy_n(next, length, out + start_len[2 * point]);
        next += length;
      }
    }
  });
}

}  // namespace pointgroup_ops
