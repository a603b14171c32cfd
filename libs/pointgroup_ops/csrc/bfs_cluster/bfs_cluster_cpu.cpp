#include "bfs_cluster/bfs_cluster_cpu.h"

namespace pointgroup_ops {

std::string check_neighbours(const Neighbours& neighbours) {
  const auto& [idxs, start_len, num_pairs, num_points] = neighbours;
  for (int64_t point = 0; point < num_points; ++point) {
    const int64_t start = start_len[2 * point], length = start_len[2 * point + 1];
    if (start < 0 || length < 0 || start + length > num_pairs) {
      return "start_len[" + std::to_string(point) + "] must be a range within the " + std::to_string(num_pairs) +
             " ball_query_idxs, got start " + std::to_string(start) + " and length " + std::to_string(length);
    }
  }
  for (int64_t pair = 0; pair < num_pairs; ++pair) {
    if (idxs[pair] < 0 || idxs[pair] >= num_points) {
      return "ball_query_idxs[" + std::to_string(pair) + "] must be one of the " + std::to_string(num_points) +
             " points, got " + std::to_string(idxs[pair]);
    }
  }
  return {};
}

Clusters bfs_cluster(const int32_t* labels, const Neighbours& neighbours, int64_t threshold) {
  Clusters clusters{{}, {0}};
  auto& points = clusters.points;  // its end is the queue of the cluster being visited
  std::vector<uint8_t> visited(neighbours.num_points, 0);
  for (int64_t seed = 0; seed < neighbours.num_points; ++seed) {
    if (visited[seed]) continue;
    visited[seed] = 1;
    const size_t begin = points.size();
    points.push_back(static_cast<int32_t>(seed));
    for (size_t head = begin; head < points.size(); ++head) {
      const int64_t point = points[head];
      const int32_t* next = neighbours.idxs + neighbours.start_len[2 * point];
      const int32_t* end = next + neighbours.start_len[2 * point + 1];
      for (; next != end; ++next) {
        if (visited[*next] || labels[*next] != labels[seed]) continue;
        visited[*next] = 1;
        points.push_back(*next);
      }
    }
    if (static_cast<int64_t>(points.size() - begin) >= threshold) {
      clusters.offsets.push_back(static_cast<int32_t>(points.size()));
    } else {
      points.resize(begin);
    }
  }
  return clusters;
}

}  // namespace pointgroup_ops
