// What the CPU code offers, on raw pointers. Float arrays are row-major; offsets are cumulative counts of the clouds.
#pragma once

#include <cstdint>
#include <vector>

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

// index (m, k ≤ kMaxNeighbours) ascending by (squared distance, index), -1 where a cloud has too few points; distance2 is 1e10 there.
void knn_query(const float* xyz, Clouds clouds, const float* queries, Clouds query_clouds, int k, int32_t* index,
               float* distance2);

// rank (n) or null: with ranks the candidates of lowest rank are taken, else an even choice in the order of
// drained_heap. See candidates.h for what a candidate is.
void ball_query(const float* xyz, Clouds clouds, const float* queries, Clouds query_clouds, int samples,
                float min_radius, float max_radius, const int32_t* rank, int32_t* index, float* distance2);

// index (samples.end of the last cloud); every cloud starts at its first point, equal distances go to the lower index.
void farthest_point_sampling(const float* xyz, Clouds clouds, Clouds samples, int32_t* index);

// The places of every value 0 ≤ v < rows in values (entries), ascending: places[starts[v]] … places[starts[v + 1] - 1].
void invert(const int32_t* values, int64_t entries, int64_t rows, int64_t* starts, int32_t* places);

// out (entries, channels) = table[index], zeros where index is negative.
void gather(const float* table, const int32_t* index, int64_t entries, int64_t channels, float* out);

// How edge_sum finds what it adds: edges of row t are places[starts[t]] …, or t * degree … without starts; edge e reads
// row source[e], or e / degree without source, scaled by weight[e][channel / divisor % width], or 1 without weight.
struct Edges {
  const int64_t* starts;
  const int32_t* places;
  const int32_t* source;
  int64_t degree;
  const float* weight;
  int64_t divisor, width;
};

// out (rows, channels) = sum over the row's edges, in their order; negative sources add nothing.
void edge_sum(const float* table, Edges edges, int64_t rows, int64_t channels, float* out);

// out (edges, groups) = sum over channels c of a[ia, g, c] * b[ib, g, c] * weight[c] (1 without weight).
void edge_dot(const float* a, const float* b, const int32_t* index_a, const int32_t* index_b, const float* weight,
              int64_t edges, int64_t groups, int64_t channels, float* out);

// out (n, degree, channels) = a[n] - b[index[n, s]].
void subtract(const float* a, const float* b, const int32_t* index, int64_t rows, int64_t degree, int64_t channels,
              float* out);

// out (n, channels) = sum over s of (table[index[n, s]] + position[n, s]) * weight[n, s, channel % width].
void aggregate(const float* table, const float* position, const float* weight, const int32_t* index, int64_t rows,
               int64_t degree, int64_t channels, int64_t width, float* out);
void aggregate_backward(const float* table, const float* position, const float* weight, const int32_t* index,
                        const float* grad, int64_t rows, int64_t degree, int64_t channels, int64_t width,
                        float* grad_position, float* grad_weight);

}  // namespace pointops::cpu
