// Runs the CPU code of pointgroup_ops on arrays of exactly their size, and compares with plain loops.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>

#include "ball_query/ball_query_cpu.h"
#include "ball_query/grid.h"
#include "bfs_cluster/bfs_cluster_cpu.h"

using namespace pointgroup_ops;

namespace {

std::mt19937 generator(7);

int64_t below(int64_t limit) { return static_cast<int64_t>(generator() % limit); }

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

struct Scene {
  std::vector<float> coords;
  std::vector<int32_t> batch_idxs, batch_offsets{0};

  Scene(const std::vector<int64_t>& sizes, double side, bool lattice, bool broken) {
    const float values[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -3e38f};
    std::uniform_real_distribution<double> uniform(-side / 2, side / 2);
    for (const int64_t size : sizes) {
      batch_idxs.insert(batch_idxs.end(), size, static_cast<int32_t>(batch_offsets.size()) - 1);
      batch_offsets.push_back(static_cast<int32_t>(batch_idxs.size()));
    }
    for (size_t i = 0; i < 3 * batch_idxs.size(); ++i) {
      const double value = uniform(generator);
      coords.push_back(static_cast<float>(lattice ? std::round(value) : value));
      if (broken && below(50) == 0) coords.back() = values[below(3)];
    }
    coords.shrink_to_fit();
    batch_idxs.shrink_to_fit();
    batch_offsets.shrink_to_fit();
  }

  Points points() const {
    return {coords.data(), batch_idxs.data(), batch_offsets.data(), static_cast<int64_t>(batch_idxs.size()),
            static_cast<int64_t>(batch_offsets.size()) - 1};
  }
};

void compare(const Scene& scene, float radius, int64_t threshold) {
  const Points points = scene.points();
  require(check_clouds(points).empty(), "clouds are refused");
  const std::unique_ptr<int32_t[]> start_len(new int32_t[2 * points.num_points]);
  std::unique_ptr<int32_t[]> idxs;
  int64_t num_pairs = 0;
  ball_query(points, radius, start_len.get(), [&](int64_t size) {
    num_pairs = size;
    idxs.reset(new int32_t[size]);
    return idxs.get();
  });

  int64_t next = 0;
  const float* coords = points.coords;
  for (int64_t i = 0; i < points.num_points; ++i) {
    require(start_len[2 * i] == next, "a start differs");
    const int32_t cloud = points.batch_idxs[i];
    for (int32_t j = points.batch_offsets[cloud]; j < points.batch_offsets[cloud + 1]; ++j) {
      const float x = coords[3 * i] - coords[3 * j], y = coords[3 * i + 1] - coords[3 * j + 1];
      const float z = coords[3 * i + 2] - coords[3 * j + 2];
      if (!(x * x + y * y + z * z < radius * radius) || next - start_len[2 * i] == kMaxNeighbours) continue;
      require(next < num_pairs && idxs[next] == j, "a neighbour differs");
      ++next;
    }
    require(start_len[2 * i + 1] == next - start_len[2 * i], "a length differs");
  }
  require(next == num_pairs, "the number of neighbours differs");

  std::vector<int32_t> labels(points.num_points);
  for (auto& label : labels) label = static_cast<int32_t>(below(3));
  const Neighbours neighbours{idxs.get(), start_len.get(), num_pairs, points.num_points};
  require(check_neighbours(neighbours).empty(), "neighbours are refused");
  const Clusters clusters = bfs_cluster(labels.data(), neighbours, threshold);
  std::vector<bool> seen(points.num_points);
  for (size_t cluster = 0; cluster + 1 < clusters.offsets.size(); ++cluster) {
    const int32_t begin = clusters.offsets[cluster], end = clusters.offsets[cluster + 1];
    require(end - begin >= threshold, "a cluster is too small");
    for (int32_t i = begin; i < end; ++i) {
      require(!seen[clusters.points[i]], "a point is in two clusters");
      require(labels[clusters.points[i]] == labels[clusters.points[begin]], "labels differ in a cluster");
      seen[clusters.points[i]] = true;
    }
  }
  require(clusters.offsets.back() == static_cast<int32_t>(clusters.points.size()), "clusters do not end");
}

void refuse() {
  const float coords[6] = {};
  const std::vector<int32_t> batch_idxs[] = {{0, 1}, {-1, 0}, {0, 0}, {0, 0}, {0, 0}};
  const std::vector<int32_t> batch_offsets[] = {{0, 2}, {0, 2}, {0, 1}, {-1, 2}, {0, 1 << 30, 2}};
  for (int i = 0; i < 5; ++i) {
    const int64_t num_clouds = static_cast<int64_t>(batch_offsets[i].size()) - 1;
    require(!check_clouds({coords, batch_idxs[i].data(), batch_offsets[i].data(), 2, num_clouds}).empty(),
            "clouds are taken that do not fit");
  }
  const int32_t most = std::numeric_limits<int32_t>::max(), idxs[2] = {0, 1};
  const int32_t start_len[][2] = {{0, 3}, {2, 1}, {-1, 1}, {most, most}, {0, -1}, {0, 2}};  // there is no point 1
  for (const auto& range : start_len) {
    require(!check_neighbours({idxs, range, 2, 1}).empty(), "neighbours are taken that do not exist");
  }
}

}  // namespace

int main() {
  for (const double side : {0.0, 0.3, 6.0, 80.0, 1e7, 1e30}) {
    for (const bool lattice : {false, true}) {
      for (const bool broken : {false, true}) {
        for (const float radius : {1e-30f, 1.0f, 2.0f, 1e20f}) {
          compare(Scene({below(60), below(3), 1 + below(60)}, side, lattice, broken), radius, below(6));
        }
      }
    }
  }
  compare(Scene({}, 1, false, false), 1, 1);
  compare(Scene({0, 1500, 1030, 999}, 0.1, false, false), 1, 1);
  compare(Scene({3000, 2500}, 9, false, true), 1, 1);
  refuse();
  std::puts("right");
}
