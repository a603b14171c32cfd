// Neighbours on the CPU, on raw pointers. Float arrays are row-major; offsets are cumulative counts of the clouds.
#pragma once

#include <cstdint>

namespace pointops::cpu {

// Segments of the points of several clouds that lie behind one another.
struct Clouds {
  const int64_t* offset;  // (clouds)
  int64_t count;
  int64_t begin(int64_t cloud) const { return cloud == 0 ? 0 : offset[cloud - 1]; }
  int64_t end(int64_t cloud) const { return offset[cloud]; }
  int64_t of(int64_t row) const;  // the cloud that holds row
};

constexpr int kMaxNeighbours = 128;

// index (m, k ≤ kMaxNeighbours) ascending by (squared distance, index), -1 where a cloud has too few points; distance2
// is 1e10 there.
void knn_query(const float* xyz, Clouds clouds, const float* queries, Clouds query_clouds, int k, int32_t* index,
               float* distance2);

// rank (n) or null: with ranks the candidates of lowest rank are taken, else an even choice in the order of
// drained_heap. See candidates.h for what a candidate is.
void ball_query(const float* xyz, Clouds clouds, const float* queries, Clouds query_clouds, int samples,
                float min_radius, float max_radius, const int32_t* rank, int32_t* index, float* distance2);

}  // namespace pointops::cpu
