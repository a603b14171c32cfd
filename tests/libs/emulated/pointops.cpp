// The kernels of pointops one after the other, as bindings_cuda.cpp starts them, under C names; arrays have exactly
// their size.
#include <numeric>

#include "kernels.h"
#include "launch.cuh"

using namespace pointops::gpu;

namespace {

template <typename Item>
std::unique_ptr<Item[]> array(int64_t size) {
  return std::unique_ptr<Item[]>(new Item[size]);
}

struct SortedPoints {
  std::unique_ptr<float4[]> points;
  std::unique_ptr<Box[]> boxes;
  Levels levels;

  SortedPoints(const float* xyz, Clouds clouds)
      : points(array<float4>(blocks(clouds.rows) * kLeaf)), boxes(array<Box>(Levels(clouds.rows).size())),
        levels(clouds.rows) {
    uint32_t bounds[kLimits];
    const auto codes = array<uint64_t>(2 * clouds.rows);
    const auto rows = array<uint32_t>(2 * clouds.rows);
    const SortBuffers pairs{{codes.get(), codes.get() + clouds.rows}, {rows.get(), rows.get() + clouds.rows}, nullptr, 0};
    build_tree(xyz, clouds, levels, {bounds, pairs}, points.get(), boxes.get(), nullptr);
  }
  static int64_t blocks(int64_t rows) { return (rows + kLeaf - 1) / kLeaf; }
  Tree tree() const { return {points.get(), boxes.get(), levels}; }
};

}  // namespace

namespace pointops::gpu {

size_t radix_sort_scratch(int, int) { return 0; }

cudaError_t radix_sort(SortBuffers buffers, int num_pairs, int, cudaStream_t, const uint32_t** sorted) {
  std::copy_n(buffers.values[0], num_pairs, buffers.values[1]);
  std::stable_sort(buffers.values[1], buffers.values[1] + num_pairs,
                   [&](uint32_t a, uint32_t b) { return buffers.keys[0][a] < buffers.keys[0][b]; });
  *sorted = buffers.values[1];
  return cudaSuccess;
}

}  // namespace pointops::gpu

extern "C" {

cudaError_t cudaMemsetAsync(void* at, int byte, size_t size, cudaStream_t) {
  std::memset(at, byte, size);
  return cudaSuccess;
}

void set_backwards(bool backwards) { emulated::backwards = backwards; }

void emulated_knn_query(const float* xyz, int64_t n, const int64_t* offset, int64_t clouds, const float* queries,
                        int64_t m, const int64_t* query_offset, int64_t k, int32_t* index, float* distance2) {
  const Clouds of_points{offset, clouds, n}, of_queries{query_offset, clouds, m};
  const SortedPoints search(xyz, of_points), asked(queries, of_queries);
  knn_query(search.tree(), of_points, asked.points.get(), of_queries, static_cast<int>(k), index, distance2, nullptr);
}

// In parts of `leaves` leaves of queries.
void emulated_ball_query(const float* xyz, int64_t n, const int64_t* offset, int64_t clouds, const float* queries,
                         int64_t m, const int64_t* query_offset, int64_t samples, float min_radius, float max_radius,
                         const int32_t* rank, int64_t leaves, int32_t* index, float* distance2) {
  const Clouds of_points{offset, clouds, n}, of_queries{query_offset, clouds, m};
  const SortedPoints search(xyz, of_points), asked(queries, of_queries);
  const Ball ball{min_radius, max_radius, rank};
  const int64_t places = SortedPoints::blocks(m) * kLeaf;
  const auto counts = array<int32_t>(places);
  const auto ends = array<int64_t>(places);
  uint64_t crowded;
  draw_few(search.tree(), of_points, asked.points.get(), of_queries, ball, xyz, static_cast<int>(samples), counts.get(),
           &crowded, index, distance2, nullptr);
  std::partial_sum(counts.get(), counts.get() + places, ends.get(), [](int64_t a, int64_t b) { return a + b; });
  if (places > 0 && static_cast<int64_t>(crowded) != ends[places - 1]) emulated::fail("crowded is not the sum");
  for (int64_t first = 0; first < places; first += leaves * kLeaf) {
    const int64_t last = std::min(places, first + leaves * kLeaf);
    const auto pairs = array<uint64_t>(ends[last - 1] - (first > 0 ? ends[first - 1] : 0));
    draw_many(search.tree(), of_points, asked.points.get(), of_queries, ball, xyz, counts.get(), ends.get(), first, last,
              pairs.get(), static_cast<int>(samples), index, distance2, nullptr);
  }
}

void emulated_farthest_point_sampling(const float* xyz, int64_t n, const int64_t* offset, int64_t clouds,
                                      const int64_t* sample_offset, int64_t samples, int32_t* index) {
  const Clouds of_points{offset, clouds, n};
  const auto distance2 = array<float>(n);
  farthest_point_sampling(xyz, SortedPoints(xyz, of_points).points.get(), of_points, {sample_offset, clouds, samples},
                          distance2.get(), index, nullptr);
}

void emulated_gather(const float* table, int64_t rows, const int32_t* index, int64_t entries, int64_t channels,
                     float* out) {
  gather(table, rows, index, entries, channels, out, nullptr);
}

void emulated_edge_sum(const float* table, int64_t table_rows, const int64_t* starts, const int32_t* places,
                       const int32_t* source, int64_t degree, const float* weight, int64_t divisor, int64_t width,
                       int64_t rows, int64_t channels, float* out) {
  edge_sum(table, table_rows, {starts, places, source, degree, weight, divisor, width}, rows, channels, out, nullptr);
}

void emulated_edge_dot(const float* a, const float* b, int64_t rows, const int32_t* index_a, const int32_t* index_b,
                       const float* weight, int64_t edges, int64_t groups, int64_t channels, float* out) {
  edge_dot({a, rows, index_a}, {b, rows, index_b}, weight, edges, groups, channels, out, nullptr);
}

void emulated_subtract(const float* a, const float* b, int64_t table_rows, const int32_t* index, int64_t rows,
                       int64_t degree, int64_t channels, float* out) {
  subtract(a, {b, table_rows, index}, rows, degree, channels, out, nullptr);
}

void emulated_aggregate(const float* table, int64_t table_rows, const int32_t* index, const float* position,
                        const float* weight, int64_t rows, int64_t degree, int64_t channels, int64_t width, float* out) {
  aggregate({table, table_rows, index}, position, weight, rows, degree, channels, width, out, nullptr);
}

void emulated_aggregate_backward(const float* table, int64_t table_rows, const int32_t* index, const float* position,
                                 const float* weight, const float* grad, int64_t rows, int64_t degree, int64_t channels,
                                 int64_t width, float* grad_position, float* grad_weight) {
  aggregate_backward({table, table_rows, index}, position, weight, grad, rows, degree, channels, width, grad_position,
                     grad_weight, nullptr);
}
}
