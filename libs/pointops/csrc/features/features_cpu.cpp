// Features gathered to edges and summed from them, every output row by one thread in the order of its edges.
#include <ATen/Parallel.h>

#include <algorithm>

#include "features/features_cpu.h"

namespace pointops::cpu {
namespace {

// Rows for each task, so that it has some thousand numbers to work on.
int64_t grain(int64_t numbers_per_row) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, numbers_per_row)); }

}  // namespace

void invert(const int32_t* values, int64_t entries, int64_t rows, int64_t* starts, int32_t* places) {
  std::fill_n(starts, rows + 1, 0);
  for (int64_t entry = 0; entry < entries; ++entry)
    if (values[entry] >= 0) ++starts[values[entry] + 1];
  for (int64_t row = 0; row < rows; ++row) starts[row + 1] += starts[row];
  std::vector<int64_t> next(starts, starts + rows);
  for (int64_t entry = 0; entry < entries; ++entry)
    if (values[entry] >= 0) places[next[values[entry]]++] = static_cast<int32_t>(entry);
}

void gather(const float* table, const int32_t* index, int64_t entries, int64_t channels, float* out) {
  at::parallel_for(0, entries, grain(channels), [&](int64_t first, int64_t last) {
    for (int64_t entry = first; entry < last; ++entry) {
      if (index[entry] < 0)
        std::fill_n(out + entry * channels, channels, 0.0f);
      else
        std::copy_n(table + index[entry] * channels, channels, out + entry * channels);
    }
  });
}

void edge_sum(const float* table, Edges edges, int64_t rows, int64_t channels, float* out) {
  at::parallel_for(0, rows, grain(4 * channels), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      float* sum = out + row * channels;
      std::fill_n(sum, channels, 0.0f);
      const int64_t begin = edges.starts ? edges.starts[row] : row * edges.degree;
      const int64_t end = edges.starts ? edges.starts[row + 1] : begin + edges.degree;
      for (int64_t place = begin; place < end; ++place) {
        const int64_t edge = edges.places ? edges.places[place] : place;
        const int64_t source = edges.source ? edges.source[edge] : edge / edges.degree;
        if (source < 0) continue;
        const float* values = table + source * channels;
        const float* weight = edges.weight ? edges.weight + edge * edges.width : nullptr;
        if (weight == nullptr || edges.width == 1) {
          const float scale = weight ? weight[0] : 1.0f;
          for (int64_t c = 0; c < channels; ++c) sum[c] += values[c] * scale;
        } else {
          for (int64_t c = 0; c < channels; ++c) sum[c] += values[c] * weight[c / edges.divisor % edges.width];
        }
      }
    }
  });
}

void edge_dot(const float* a, const float* b, const int32_t* index_a, const int32_t* index_b, const float* weight,
              int64_t edges, int64_t groups, int64_t channels, float* out) {
  at::parallel_for(0, edges, grain(groups * channels), [&](int64_t first, int64_t last) {
    for (int64_t edge = first; edge < last; ++edge) {
      const bool present = index_a[edge] >= 0 && index_b[edge] >= 0;
      for (int64_t group = 0; group < groups; ++group) {
        float sum = 0;
        for (int64_t c = 0; present && c < channels; ++c) {
          const float product =
              a[(index_a[edge] * groups + group) * channels + c] * b[(index_b[edge] * groups + group) * channels + c];
          sum += weight ? product * weight[c] : product;
        }
        out[edge * groups + group] = sum;
      }
    }
  });
}

void subtract(const float* a, const float* b, const int32_t* index, int64_t rows, int64_t degree, int64_t channels,
              float* out) {
  at::parallel_for(0, rows, grain(degree * channels), [&](int64_t first, int64_t last) {
    for (int64_t edge = first * degree; edge < last * degree; ++edge) {
      const float* left = a + edge / degree * channels;
      float* difference = out + edge * channels;
      if (index[edge] < 0) {
        std::copy_n(left, channels, difference);
        continue;
      }
      const float* right = b + index[edge] * channels;
      for (int64_t c = 0; c < channels; ++c) difference[c] = left[c] - right[c];
    }
  });
}

void aggregate(const float* table, const float* position, const float* weight, const int32_t* index, int64_t rows,
               int64_t degree, int64_t channels, int64_t width, float* out) {
  at::parallel_for(0, rows, grain(degree * channels), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      float* sum = out + row * channels;
      std::fill_n(sum, channels, 0.0f);
      for (int64_t edge = row * degree; edge < (row + 1) * degree; ++edge) {
        if (index[edge] < 0) continue;
        const float* values = table + index[edge] * channels;
        for (int64_t c = 0; c < channels; ++c)
          sum[c] += (values[c] + position[edge * channels + c]) * weight[edge * width + c % width];
      }
    }
  });
}

void aggregate_backward(const float* table, const float* position, const float* weight, const int32_t* index,
                        const float* grad, int64_t rows, int64_t degree, int64_t channels, int64_t width,
                        float* grad_position, float* grad_weight) {
  at::parallel_for(0, rows, grain(2 * degree * channels), [&](int64_t first, int64_t last) {
    for (int64_t edge = first * degree; edge < last * degree; ++edge) {
      std::fill_n(grad_weight + edge * width, width, 0.0f);
      if (index[edge] < 0) {
        std::fill_n(grad_position + edge * channels, channels, 0.0f);
        continue;
      }
      const float* values = table + index[edge] * channels;
      const float* incoming = grad + edge / degree * channels;
      for (int64_t c = 0; c < channels; ++c) {
        grad_position[edge * channels + c] = incoming[c] * weight[edge * width + c % width];
        grad_weight[edge * width + c % width] += incoming[c] * (values[c] + position[edge * channels + c]);
      }
    }
  });
}

}  // namespace pointops::cpu
