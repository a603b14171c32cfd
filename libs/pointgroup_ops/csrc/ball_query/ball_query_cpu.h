// The ball query on the CPU. Pointers are to contiguous arrays; what the arrays hold is checked first by check_*.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace pointgroup_ops {

struct Points {
  const float* coords;           // (num_points, 3)
  const int32_t* batch_idxs;     // (num_points,) cloud of a point
  const int32_t* batch_offsets;  // (num_clouds + 1,) first point of a cloud
  int64_t num_points;
  int64_t num_clouds;
};

// What is wrong with batch_idxs and batch_offsets, empty if nothing is.
std::string check_clouds(const Points& points);

// Fills start_len (num_points, 2) with starts that rise with the point, asks ``allocate`` for room for all neighbours
// and fills it. ``allocate`` may throw.
void ball_query(const Points& points, float radius, int32_t* start_len,
                const std::function<int32_t*(int64_t num_pairs)>& allocate);

}  // namespace pointgroup_ops
