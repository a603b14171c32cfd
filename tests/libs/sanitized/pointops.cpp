// Runs the CPU code of pointops on arrays of exactly their size, and compares with plain loops.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "features/features_cpu.h"
#include "moments/moments_cpu.h"
#include "sampling/sampling_cpu.h"
#include "search/box_tree.h"
#include "search/candidates.h"
#include "search/curve.h"
#include "search/search_cpu.h"

using namespace pointops;
using namespace pointops::cpu;

namespace {

std::mt19937 generator(7);

int64_t below(int64_t limit) { return static_cast<int64_t>(generator() % limit); }

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

template <typename Item>
std::unique_ptr<Item[]> array(int64_t size) {
  return std::unique_ptr<Item[]>(new Item[size]);
}

struct Scene {
  std::unique_ptr<float[]> xyz;
  std::unique_ptr<int64_t[]> offset;
  int64_t count, points = 0;

  Scene(const std::vector<int64_t>& sizes, double side, bool lattice, bool broken)
      : offset(array<int64_t>(sizes.size())), count(static_cast<int64_t>(sizes.size())) {
    const float values[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -3e38f};
    for (int64_t cloud = 0; cloud < count; ++cloud) offset[cloud] = points += sizes[cloud];
    xyz = array<float>(3 * points);
    std::uniform_real_distribution<double> uniform(-side / 2, side / 2);
    for (int64_t i = 0; i < 3 * points; ++i) {
      const double value = uniform(generator);
      xyz[i] = static_cast<float>(lattice ? std::round(value) : value);
      if (broken && below(50) == 0) xyz[i] = values[below(3)];
    }
  }
  Clouds clouds() const { return {offset.get(), count}; }
};

float distance2(const float* a, const float* b) { return squared_length(a[0] - b[0], a[1] - b[1], a[2] - b[2]); }

void compare_nearest(const Scene& scene, const Scene& queries, int k) {
  const auto index = array<int32_t>(queries.points * k);
  const auto found = array<float>(queries.points * k);
  knn_query(scene.xyz.get(), scene.clouds(), queries.xyz.get(), queries.clouds(), k, index.get(), found.get());
  for (int64_t query = 0; query < queries.points; ++query) {
    const int64_t cloud = queries.clouds().of(query);
    std::vector<std::pair<float, int32_t>> all;
    for (int64_t i = scene.clouds().begin(cloud); i < scene.clouds().end(cloud); ++i) {
      const float d2 = distance2(queries.xyz.get() + 3 * query, scene.xyz.get() + 3 * i);
      if (d2 <= std::numeric_limits<float>::max()) all.emplace_back(d2, static_cast<int32_t>(i));
    }
    std::sort(all.begin(), all.end());
    all.resize(k, {kMissingDistance2, -1});
    for (int i = 0; i < k; ++i)
      require(index[query * k + i] == all[i].second && found[query * k + i] == all[i].first, "a neighbour differs");
  }
}

void compare_balls(const Scene& scene, const Scene& queries, int samples, float min_radius, float max_radius) {
  const auto index = array<int32_t>(queries.points * samples), rank = array<int32_t>(scene.points);
  const auto found = array<float>(queries.points * samples);
  for (int64_t i = 0; i < scene.points; ++i) rank[i] = static_cast<int32_t>(scene.points - i);
  const Shell shell(min_radius, max_radius);
  for (const bool ranked : {false, true}) {
    ball_query(scene.xyz.get(), scene.clouds(), queries.xyz.get(), queries.clouds(), samples, min_radius, max_radius,
               ranked ? rank.get() : nullptr, index.get(), found.get());
    for (int64_t query = 0; query < queries.points; ++query) {
      const int64_t cloud = queries.clouds().of(query);
      std::vector<int32_t> candidates;
      for (int64_t i = scene.clouds().end(cloud); i-- > scene.clouds().begin(cloud);)
        if (shell.holds(distance2(queries.xyz.get() + 3 * query, scene.xyz.get() + 3 * i)))
          candidates.push_back(static_cast<int32_t>(i));
      const auto number = std::min<int64_t>(samples, candidates.size());
      for (int64_t i = 0; i < samples; ++i) {
        const int32_t one = index[query * samples + i];
        require((one >= 0) == (i < number), "the number of candidates differs");
        if (i < number && ranked) require(one == candidates[i], "a candidate differs");
        if (i < number) require(std::count(candidates.begin(), candidates.end(), one) == 1, "no candidate");
      }
    }
  }
}

void compare_samples(const Scene& scene, const std::vector<int64_t>& sizes) {
  const auto offset = array<int64_t>(scene.count);
  int64_t samples = 0;
  for (int64_t cloud = 0; cloud < scene.count; ++cloud) offset[cloud] = samples += sizes[cloud] + sizes[cloud] / 4;
  const auto index = array<int32_t>(samples);
  farthest_point_sampling(scene.xyz.get(), scene.clouds(), {offset.get(), scene.count}, index.get());
  for (int64_t cloud = 0; cloud < scene.count; ++cloud) {
    const int64_t begin = scene.clouds().begin(cloud), end = scene.clouds().end(cloud);
    std::vector<float> gaps;
    for (int64_t i = begin; i < end; ++i)
      gaps.push_back(is_finite(scene.xyz.get() + 3 * i) ? std::numeric_limits<float>::max() : 0.0f);
    int64_t place = 0;
    for (int64_t sample = cloud == 0 ? 0 : offset[cloud - 1]; sample < offset[cloud]; ++sample) {
      require(index[sample] == begin + place, "a sample differs");
      for (int64_t i = begin; i < end; ++i) {
        const float d2 = distance2(scene.xyz.get() + 3 * (begin + place), scene.xyz.get() + 3 * i);
        if (d2 < gaps[i - begin]) gaps[i - begin] = d2;
      }
      place = std::max_element(gaps.begin(), gaps.end()) - gaps.begin();
    }
  }
}

void run_features(int64_t table_rows, int64_t rows, int64_t degree, int64_t channels, int64_t width) {
  const int64_t edges = rows * degree;
  const auto floats = [](int64_t size) {
    auto values = array<float>(size);
    for (int64_t i = 0; i < size; ++i) values[i] = static_cast<float>(below(9) - 4);
    return values;
  };
  const auto index = array<int32_t>(edges), places = array<int32_t>(edges);
  for (int64_t edge = 0; edge < edges; ++edge) index[edge] = static_cast<int32_t>(below(table_rows + 1)) - 1;
  const auto starts = array<int64_t>(table_rows + 1);
  invert(index.get(), edges, table_rows, starts.get(), places.get());
  for (int64_t row = 0; row < table_rows; ++row)
    for (int64_t place = starts[row]; place < starts[row + 1]; ++place)
      require(index[places[place]] == row, "an edge is in a wrong row");

  const auto table = floats(table_rows * channels), own = floats(rows * channels);
  const auto position = floats(edges * channels), weight = floats(edges * width);
  const auto at_edges = array<float>(edges * channels), at_rows = array<float>(rows * channels);
  const auto at_table = array<float>(table_rows * channels), dots = array<float>(edges);
  const auto grad_weight = array<float>(edges * width);
  gather(table.get(), index.get(), edges, channels, at_edges.get());
  const Edges by_target{starts.get(), places.get(), nullptr, 1, nullptr, 1, 1};
  edge_sum(at_edges.get(), by_target, table_rows, channels, at_table.get());
  for (int64_t i = 0; i < table_rows * channels; ++i)
    require(at_table[i] == table[i] * static_cast<float>(starts[i / channels + 1] - starts[i / channels]),
            "a sum differs");
  edge_sum(table.get(), {nullptr, nullptr, index.get(), degree, weight.get(), 1, width}, rows, channels, at_rows.get());
  edge_dot(table.get(), table.get(), index.get(), index.get(), nullptr, edges, 1, channels, dots.get());
  subtract(own.get(), table.get(), index.get(), rows, degree, channels, at_edges.get());
  aggregate(table.get(), position.get(), weight.get(), index.get(), rows, degree, channels, width, at_rows.get());
  aggregate_backward(table.get(), position.get(), weight.get(), index.get(), own.get(), rows, degree, channels, width,
                     at_edges.get(), grad_weight.get());
}

// Cells that follow each other along the curve are next to each other.
void follow_curve() {
  const float bounds[6] = {0, 0, 0, 8, 8, 8};
  for (const int64_t clouds : {1, 1000}) {
    std::vector<std::pair<uint64_t, std::array<int, 3>>> places;
    for (int x = 0; x < 8; ++x)
      for (int y = 0; y < 8; ++y)
        for (int z = 0; z < 8; ++z) {
          const float middle[3] = {x + 0.5f, y + 0.5f, z + 0.5f};
          places.push_back({Curve(bounds, clouds).code(middle, clouds - 1), {x, y, z}});
        }
    std::sort(places.begin(), places.end());
    for (size_t i = 1; i < places.size(); ++i) {
      int steps = 0;
      for (int axis = 0; axis < 3; ++axis) steps += std::abs(places[i].second[axis] - places[i - 1].second[axis]);
      require(steps == 1, "the curve jumps");
    }
  }
}

void run_moments(int64_t points, int64_t queries, int64_t listed, int64_t used) {
  const auto xyz = array<float>(3 * points), centres = array<float>(3 * queries);
  for (int64_t i = 0; i < 3 * points; ++i) xyz[i] = static_cast<float>(below(1000)) / 8;
  for (int64_t i = 0; i < 3 * queries; ++i) centres[i] = static_cast<float>(below(1000)) / 8;
  const auto index = array<int32_t>(queries * listed);
  for (int64_t i = 0; i < queries * listed; ++i) index[i] = static_cast<int32_t>(below(points + 1)) - 1;
  const auto out = array<double>(kMoments * queries);
  neighbour_moments({xyz.get(), points, centres.get(), index.get(), queries, listed, used}, out.get());
  for (int64_t query = 0; query < queries; ++query) {
    double mean[3] = {}, lowest = 0;
    int count = 0;
    for (int64_t i = 0; i < used; ++i) {
      const int32_t row = index[query * listed + i];
      if (row < 0) continue;
      for (int axis = 0; axis < 3; ++axis) mean[axis] += xyz[3 * row + axis] - centres[3 * query + axis];
      const double z = xyz[3 * row + 2] - centres[3 * query + 2];
      lowest = count++ == 0 ? z : std::min(lowest, z);
    }
    for (int axis = 0; axis < 3; ++axis)
      require(std::abs(out[axis * queries + query] - mean[axis] / std::max(count, 1)) < 1e-9, "a mean is another");
    require(out[9 * queries + query] == lowest, "the lowest z is another");
  }
}

// A few points far away leave the others cells of their own.
void far_points_take_no_cells() {
  const float middle[6] = {1, 1, 0, 7, 7, 0}, none[6] = {1, 1, 1, 1, 1, 1};
  for (const float far : {1e4f, 1e12f, 3e38f}) {
    float bounds[6] = {-far, 0, -far, far, 8, 0};
    draw_in(bounds, none);
    require(bounds[0] == -far && bounds[3] == far, "without a middle the bounds changed");
    draw_in(bounds, middle);
    const float expected[6] = {-5, 0, -6, 13, 8, 0};
    require(std::equal(bounds, bounds + 6, expected), "the bounds were drawn in otherwise");
  }
  std::vector<float> xyz;
  for (int i = 0; i < 1000; ++i) xyz.insert(xyz.end(), {static_cast<float>(i * 617 % 1000), 0, 0});
  for (int i = 0; i < 40; ++i) xyz[75 * i] = i % 2 ? 1e30f : -1e30f;
  const int64_t offset[1] = {1000};
  float widths = 0;
  for (const Leaf& leaf : leaves_along_curve(xyz.data(), {offset, 1})) {
    float low = 1e30f, high = -1e30f;
    for (const float x : leaf.x)
      if (std::abs(x) < 1e29f) low = std::min(low, x), high = std::max(high, x);
    widths += std::max(high - low, 0.0f);
  }
  require(widths < 4000, "leaves hold points that are not neighbours");
}

}  // namespace

int main() {
  follow_curve();
  far_points_take_no_cells();
  for (const double side : {0.0, 0.3, 6.0, 1e7}) {
    for (const bool lattice : {false, true}) {
      for (const bool broken : {false, true}) {
        const std::vector<int64_t> sizes{below(90), below(3), 1 + below(60)};
        const Scene scene(sizes, side, lattice, broken), queries({below(9), below(40), 5}, side, lattice, broken);
        for (const int k : {1, 8, 13, 17, 40, 128}) {
          compare_nearest(scene, queries, k);
          compare_nearest(scene, scene, k);
        }
        compare_balls(scene, queries, 5, 0.0f, 1.0f);
        compare_balls(scene, scene, 70, 0.5f, 1e30f);
        compare_samples(scene, sizes);
      }
    }
  }
  const std::vector<int64_t> sizes{0, 3000, 1500};
  const Scene many(sizes, 40, false, false);
  compare_nearest(many, many, 16);
  compare_balls(many, many, 4, 0.0f, 3.0f);
  compare_samples(many, sizes);
  run_features(1, 1, 1, 1, 1);
  run_features(50, 400, 7, 19, 4);
  run_moments(1, 1, 1, 1);
  run_moments(50, 3000, 7, 5);
  std::puts("right");
  return 0;
}
