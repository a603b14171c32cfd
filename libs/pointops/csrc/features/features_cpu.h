// Features of neighbours on the CPU, on raw pointers. Float arrays are row-major.
#pragma once

#include <cstdint>

namespace pointops::cpu {

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
