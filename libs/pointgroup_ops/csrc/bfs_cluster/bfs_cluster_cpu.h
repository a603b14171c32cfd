// Breadth-first clustering on the CPU. Pointers are to contiguous arrays; what they hold is checked first by
// check_neighbours.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pointgroup_ops {

struct Neighbours {
  const int32_t* idxs;       // (num_pairs,)
  const int32_t* start_len;  // (num_points, 2) ranges of idxs
  int64_t num_pairs;
  int64_t num_points;
};

// What is wrong with idxs and start_len, empty if nothing is.
std::string check_neighbours(const Neighbours& neighbours);

struct Clusters {
  std::vector<int32_t> points;   // in the order visited, cluster after cluster
  std::vector<int32_t> offsets;  // (num_clusters + 1,) first entry of a cluster in points
};

Clusters bfs_cluster(const int32_t* labels, const Neighbours& neighbours, int64_t threshold);

}  // namespace pointgroup_ops
