// What is wrong with the clouds of a ball query.
#include "ball_query/ball_query_cpu.h"

namespace pointgroup_ops {

std::string check_clouds(const Points& points) {
  const auto& [coords, batch_idxs, offsets, num_points, num_clouds] = points;
  bool rising = offsets[0] == 0 && offsets[num_clouds] == num_points;
  for (int64_t cloud = 0; cloud < num_clouds; ++cloud) rising = rising && offsets[cloud] <= offsets[cloud + 1];
  if (!rising) {
    return "batch_offsets must rise from 0 to the number of points, " + std::to_string(num_points);
  }
  for (int64_t cloud = 0; cloud < num_clouds; ++cloud) {
    for (int64_t i = offsets[cloud]; i < offsets[cloud + 1]; ++i) {
      if (batch_idxs[i] != cloud) {
        return "batch_idxs[" + std::to_string(i) + "] must be " + std::to_string(cloud) +
               ", the cloud of the point by batch_offsets, got " + std::to_string(batch_idxs[i]);
      }
    }
  }
  return {};
}

}  // namespace pointgroup_ops
