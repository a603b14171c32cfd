// Features gathered to edges and summed from them. Every output has one thread, so that results are the same every
// time.
#include "features/features_cuda.h"
#include "search/device.cuh"

namespace pointops::gpu {
namespace {

constexpr int kThreads = 256;

__device__ bool holds(int64_t rows, int64_t index) { return index >= 0 && index < rows; }

__global__ void __launch_bounds__(kThreads) gather_kernel(Table table, int64_t entries, int64_t channels, float* out) {
  const int64_t i = global_thread();
  if (i >= entries * channels) return;
  const int64_t row = table.index[i / channels];
  out[i] = holds(table.count, row) ? table.rows[row * channels + i % channels] : 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    edge_sum_kernel(const float* table, int64_t table_rows, Edges edges, int64_t rows, int64_t channels, float* out) {
  const int64_t i = global_thread();
  if (i >= rows * channels) return;
  const int64_t row = i / channels, channel = i % channels;
  const int64_t begin = edges.starts != nullptr ? edges.starts[row] : row * edges.degree;
  const int64_t end = edges.starts != nullptr ? edges.starts[row + 1] : begin + edges.degree;
  const int64_t weight_channel = channel / edges.divisor % edges.width;
  float sum = 0;
  for (int64_t place = begin; place < end; ++place) {
    const int64_t edge = edges.places != nullptr ? edges.places[place] : place;
    const int64_t source = edges.source != nullptr ? edges.source[edge] : edge / edges.degree;
    if (!holds(table_rows, source)) continue;
    const float weight = edges.weight != nullptr ? edges.weight[edge * edges.width + weight_channel] : 1.0f;
    sum += table[source * channels + channel] * weight;
  }
  out[i] = sum;
}

__global__ void __launch_bounds__(kThreads) edge_dot_kernel(Table a, Table b, const float* weight, int64_t edges,
                                                            int64_t groups, int64_t channels, float* out) {
  const int64_t i = global_thread();
  if (i >= edges * groups) return;
  const int64_t edge = i / groups, group = i % groups;
  float sum = 0;
  if (holds(a.count, a.index[edge]) && holds(b.count, b.index[edge])) {
    const float* left = a.rows + (a.index[edge] * groups + group) * channels;
    const float* right = b.rows + (b.index[edge] * groups + group) * channels;
    for (int64_t c = 0; c < channels; ++c) sum += left[c] * right[c] * (weight != nullptr ? weight[c] : 1.0f);
  }
  out[i] = sum;
}

__global__ void __launch_bounds__(kThreads)
    subtract_kernel(const float* a, Table b, int64_t rows, int64_t degree, int64_t channels, float* out) {
  const int64_t i = global_thread();
  if (i >= rows * degree * channels) return;
  const int64_t edge = i / channels, channel = i % channels;
  const int64_t other = b.index[edge];
  const float taken = holds(b.count, other) ? b.rows[other * channels + channel] : 0.0f;
  out[i] = a[edge / degree * channels + channel] - taken;
}

__global__ void __launch_bounds__(kThreads)
    aggregate_kernel(Table table, const float* position, const float* weight, int64_t rows, int64_t degree,
                     int64_t channels, int64_t width, float* out) {
  const int64_t i = global_thread();
  if (i >= rows * channels) return;
  const int64_t row = i / channels, channel = i % channels;
  float sum = 0;
  for (int64_t edge = row * degree; edge < (row + 1) * degree; ++edge) {
    if (!holds(table.count, table.index[edge])) continue;
    const float value = table.rows[table.index[edge] * channels + channel] + position[edge * channels + channel];
    sum += value * weight[edge * width + channel % width];
  }
  out[i] = sum;
}

// A thread has one weight and the channels that it scales.
__global__ void __launch_bounds__(kThreads)
    aggregate_backward_kernel(Table table, const float* position, const float* weight, const float* grad, int64_t edges,
                              int64_t degree, int64_t channels, int64_t width, float* grad_position,
                              float* grad_weight) {
  const int64_t i = global_thread();
  if (i >= edges * width) return;
  const int64_t edge = i / width;
  const int64_t row = table.index[edge];
  const bool present = holds(table.count, row);
  float sum = 0;
  for (int64_t channel = i % width; channel < channels; channel += width) {
    const float incoming = present ? grad[edge / degree * channels + channel] : 0.0f;
    const int64_t here = edge * channels + channel;
    grad_position[here] = incoming * weight[i];
    if (present) sum += incoming * (table.rows[row * channels + channel] + position[here]);
  }
  grad_weight[i] = sum;
}

}  // namespace

cudaError_t gather(const float* table, int64_t table_rows, const int32_t* index, int64_t entries, int64_t channels,
                   float* out, cudaStream_t stream) {
  return launch(gather_kernel, blocks_of(entries * channels, kThreads), kThreads, 0, stream,
                Table{table, table_rows, index}, entries, channels, out);
}

cudaError_t edge_sum(const float* table, int64_t table_rows, Edges edges, int64_t rows, int64_t channels, float* out,
                     cudaStream_t stream) {
  return launch(edge_sum_kernel, blocks_of(rows * channels, kThreads), kThreads, 0, stream, table, table_rows, edges,
                rows, channels, out);
}

cudaError_t edge_dot(Table a, Table b, const float* weight, int64_t edges, int64_t groups, int64_t channels, float* out,
                     cudaStream_t stream) {
  return launch(edge_dot_kernel, blocks_of(edges * groups, kThreads), kThreads, 0, stream, a, b, weight, edges, groups,
                channels, out);
}

cudaError_t subtract(const float* a, Table b, int64_t rows, int64_t degree, int64_t channels, float* out,
                     cudaStream_t stream) {
  return launch(subtract_kernel, blocks_of(rows * degree * channels, kThreads), kThreads, 0, stream, a, b, rows, degree,
                channels, out);
}

cudaError_t aggregate(Table table, const float* position, const float* weight, int64_t rows, int64_t degree,
                      int64_t channels, int64_t width, float* out, cudaStream_t stream) {
  return launch(aggregate_kernel, blocks_of(rows * channels, kThreads), kThreads, 0, stream, table, position, weight,
                rows, degree, channels, width, out);
}

cudaError_t aggregate_backward(Table table, const float* position, const float* weight, const float* grad, int64_t rows,
                               int64_t degree, int64_t channels, int64_t width, float* grad_position,
                               float* grad_weight, cudaStream_t stream) {
  return launch(aggregate_backward_kernel, blocks_of(rows * degree * width, kThreads), kThreads, 0, stream, table,
                position, weight, grad, rows * degree, degree, channels, width, grad_position, grad_weight);
}

}  // namespace pointops::gpu
