// The operators on the processor. Pointers are to contiguous arrays; what the arrays hold is checked first by check_*.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace pointgroup_ops {

struct Points {
  const float* coords;          // (num_points, 3)
  const int32_t* batch_idxs;    // (num_points,) cloud of a point
  const int32_t* batch_offsets; // (num_clouds + 1,) first point of a cloud
  int64_t num_points;
  int64_t num_clouds;
};

// What is wrong with batch_idxs and batch_offsets, empty if nothing is.
std::string check_clouds(const Points& points);

// Fills start_len (num_points, 2) with starts that rise with the point, asks ``allocate`` for room for all neighbours
// and fills it. ``allocate`` may throw.
void ball_query(
    const Points& points,
    float radius,
    int32_t* start_len,
    const std::function<int32_t*(int64_t num_pairs)>& allocate);

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
