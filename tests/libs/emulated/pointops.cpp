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

std::unique_ptr<float4[]> sorted_points(const float* xyz, Clouds clouds) {
  const int64_t points = clouds.rows;
  uint32_t bounds[6];
  const auto codes = array<int64_t>(points), order = array<int64_t>(points);
  find_bounds(xyz, points, bounds, nullptr);
  curve_codes(xyz, clouds, bounds, codes.get(), nullptr);
  std::iota(order.get(), order.get() + points, 0);
  std::sort(order.get(), order.get() + points, [&](int64_t a, int64_t b) { return codes[a] < codes[b]; });
  auto sorted = array<float4>((points + kLeaf - 1) / kLeaf * kLeaf);
  pack_points(xyz, order.get(), points, sorted.get(), nullptr);
  return sorted;
}

struct Search {
  std::unique_ptr<float4[]> points, queries;
  std::unique_ptr<Box[]> boxes;
  Levels levels;

  Search(const float* xyz, Clouds clouds, const float* asked, Clouds asked_clouds)
      : points(sorted_points(xyz, clouds)), queries(sorted_points(asked, asked_clouds)), levels(clouds.rows) {
    boxes = array<Box>(levels.size());
    surround(points.get(), levels, boxes.get(), nullptr);
  }
  Tree tree() const { return {points.get(), boxes.get(), levels}; }
};

}  // namespace

extern "C" {

void set_backwards(bool backwards) { emulated::backwards = backwards; }

void emulated_knn_query(const float* xyz, int64_t n, const int64_t* offset, int64_t clouds, const float* queries,
                        int64_t m, const int64_t* query_offset, int64_t k, int32_t* index, float* distance2) {
  const Clouds of_points{offset, clouds, n}, of_queries{query_offset, clouds, m};
  const Search search(xyz, of_points, queries, of_queries);
  knn_query(search.tree(), of_points, search.queries.get(), of_queries, static_cast<int>(k), index, distance2, nullptr);
}

// In parts of `leaves` leaves of queries.
void emulated_ball_query(const float* xyz, int64_t n, const int64_t* offset, int64_t clouds, const float* queries,
                         int64_t m, const int64_t* query_offset, int64_t samples, float min_radius, float max_radius,
                         const int32_t* rank, int64_t leaves, int32_t* index, float* distance2) {
  const Clouds of_points{offset, clouds, n}, of_queries{query_offset, clouds, m};
  const Search search(xyz, of_points, queries, of_queries);
  const Ball ball{min_radius, max_radius, rank};
  const int64_t places = (m + kLeaf - 1) / kLeaf * kLeaf;
  const auto counts = array<int32_t>(places);
  const auto ends = array<int64_t>(places);
  count_candidates(search.tree(), of_points, search.queries.get(), of_queries, ball, counts.get(), nullptr);
  std::partial_sum(counts.get(), counts.get() + places, ends.get(), [](int64_t a, int64_t b) { return a + b; });
  for (int64_t first = 0; first < places; first += leaves * kLeaf) {
    const int64_t last = std::min(places, first + leaves * kLeaf);
    const auto pairs = array<uint64_t>(ends[last - 1] - (first > 0 ? ends[first - 1] : 0));
    draw_candidates(search.tree(), of_points, search.queries.get(), of_queries, ball, xyz, counts.get(), ends.get(),
                    first, last, pairs.get(), static_cast<int>(samples), index, distance2, nullptr);
  }
}

void emulated_farthest_point_sampling(const float* xyz, int64_t n, const int64_t* offset, int64_t clouds,
                                      const int64_t* sample_offset, int64_t samples, int32_t* index) {
  const Clouds of_points{offset, clouds, n};
  const auto distance2 = array<float>(n);
  farthest_point_sampling(xyz, sorted_points(xyz, of_points).get(), of_points, {sample_offset, clouds, samples},
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
