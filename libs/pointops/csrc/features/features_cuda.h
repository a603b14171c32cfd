// Features of neighbours on a GPU, on device pointers; each function starts a kernel and returns what the start failed
// with.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pointops::gpu {

// As in features_cpu.h; an index outside of the rows of its table counts as -1.
cudaError_t gather(const float* table, int64_t table_rows, const int32_t* index, int64_t entries, int64_t channels,
                   float* out, cudaStream_t stream);

struct Edges {
  const int64_t* starts;
  const int32_t* places;
  const int32_t* source;
  int64_t degree;
  const float* weight;
  int64_t divisor, width;
};

cudaError_t edge_sum(const float* table, int64_t table_rows, Edges edges, int64_t rows, int64_t channels, float* out,
                     cudaStream_t stream);

struct Table {
  const float* rows;
  int64_t count;
  const int32_t* index;
};

cudaError_t edge_dot(Table a, Table b, const float* weight, int64_t edges, int64_t groups, int64_t channels, float* out,
                     cudaStream_t stream);
cudaError_t subtract(const float* a, Table b, int64_t rows, int64_t degree, int64_t channels, float* out,
                     cudaStream_t stream);
cudaError_t aggregate(Table table, const float* position, const float* weight, int64_t rows, int64_t degree,
                      int64_t channels, int64_t width, float* out, cudaStream_t stream);
cudaError_t aggregate_backward(Table table, const float* position, const float* weight, const float* grad, int64_t rows,
                               int64_t degree, int64_t channels, int64_t width, float* grad_position,
                               float* grad_weight, cudaStream_t stream);

}  // namespace pointops::gpu
