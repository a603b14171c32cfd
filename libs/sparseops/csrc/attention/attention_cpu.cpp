// Attention inside patches on the CPU: float32, exact softmax, memory for one patch a thread.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "attention/attention_cpu.h"

namespace sparseops {
namespace {

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed between inlined functions only
#endif

#define SPARSEOPS_ALWAYS_INLINE inline __attribute__((always_inline))

// `lanes` floats and as many integers in one register.
template <int lanes>
struct Vectors;
template <>
struct Vectors<4> {
  typedef float Float __attribute__((vector_size(16), aligned(4), may_alias));
  typedef int32_t Int __attribute__((vector_size(16)));
};
template <>
struct Vectors<8> {
  typedef float Float __attribute__((vector_size(32), aligned(4), may_alias));
  typedef int32_t Int __attribute__((vector_size(32)));
};
template <>
struct Vectors<16> {
  typedef float Float __attribute__((vector_size(64), aligned(4), may_alias));
  typedef int32_t Int __attribute__((vector_size(64)));
};

// exp of x <= 0 to 2 units in the last place; below -87 as at -87. A NaN stays one.
template <int lanes>
SPARSEOPS_ALWAYS_INLINE typename Vectors<lanes>::Float exp_nonpositive(typename Vectors<lanes>::Float x) {
  using Float = typename Vectors<lanes>::Float;
  using Int = typename Vectors<lanes>::Int;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2**23: adding it leaves the nearest integer in the low bits
  x = x < -87.0f ? Float{} - 87.0f : x;
  const Float shifted = x * 1.44269504f + kRound;
  const Float exponent = shifted - kRound;
  const Float rest = (x - exponent * 0.693359375f) + exponent * 2.12194440e-4f;  // within ±ln(2) / 2
  Float series = rest * (1.0f / 720) + 1.0f / 120;
  series = series * rest + 1.0f / 24;
  series = series * rest + 1.0f / 6;
  series = series * rest + 0.5f;
  series = series * rest + 1.0f;
  series = series * rest + 1.0f;
  Int bits, power;
  std::memcpy(&bits, &series, sizeof(bits));
  std::memcpy(&power, &shifted, sizeof(power));
  bits += power << 23;
  Float out;
  std::memcpy(&out, &bits, sizeof(out));
  return out;
}

// One head of one patch, with the scratch of its thread.
struct Head {
  const float* query;   // (length, 3, heads, dim) from this head's first element on
  Positions positions;  // the table's from this head's first entry on, the voxels' from the patch's first row on
  float* out;           // (length, heads * dim) likewise
  int64_t length, stride, out_stride, dim, heads;
  float scale;
};

struct Scratch {
  int64_t padded_length, padded_dim;  // multiples of the lanes
  int64_t score_stride;               // no power of two, so that rows do not evict each other from the first cache
  std::vector<float> keys;            // (padded_length / lanes, dim, lanes)
  std::vector<float> values;          // (length, padded_dim)
  std::vector<float> scores;          // (rows, padded_length) in steps of score_stride
  std::vector<float> queries;         // (rows, dim)
  std::vector<float> table;           // (3, 2 * bound + 1)
  std::vector<int32_t> voxels;        // (3, length)
};

constexpr float kLowest = std::numeric_limits<float>::lowest();

SPARSEOPS_ALWAYS_INLINE void add_bias(const Head& head, const Scratch& scratch, int64_t query, float* scores) {
  const auto bound = static_cast<int32_t>(head.positions.bound);
  const int32_t* voxels = scratch.voxels.data();
  const int32_t x = voxels[query], y = voxels[head.length + query], z = voxels[2 * head.length + query];
  const float* along_x = scratch.table.data() + bound;
  const float* along_y = along_x + 2 * bound + 1;
  const float* along_z = along_y + 2 * bound + 1;
  const auto clamped = [bound](int32_t distance) { return std::min(std::max(distance, -bound), bound); };
  for (int64_t key = 0; key < head.length; ++key) {
    scores[key] += along_x[clamped(x - voxels[key])] + along_y[clamped(y - voxels[head.length + key])] +
                   along_z[clamped(z - voxels[2 * head.length + key])];
  }
}

// scores = scale * queries @ keys + bias, then exp(scores - their maximum); returns 1 / sum of each row in `inverse`.
template <int lanes, int rows>
SPARSEOPS_ALWAYS_INLINE void softmax_rows(const Head& head, Scratch& scratch, int64_t first, float* inverse) {
  using Float = typename Vectors<lanes>::Float;
  const int64_t padded = scratch.padded_length;
  const float* queries = scratch.queries.data();
  float* scores = scratch.scores.data();
  const float* keys = scratch.keys.data();
  for (int64_t key = 0; key < padded; key += lanes) {
    Float sums[rows] = {};
    for (int64_t d = 0; d < head.dim; ++d, keys += lanes) {
      const Float column = *reinterpret_cast<const Float*>(keys);
      for (int r = 0; r < rows; ++r) sums[r] += queries[d * rows + r] * column;
    }
    for (int r = 0; r < rows; ++r) *reinterpret_cast<Float*>(scores + r * scratch.score_stride + key) = sums[r];
  }
  for (int r = 0; r < rows; ++r) {
    float* row = scores + r * scratch.score_stride;
    if (head.positions.table != nullptr) add_bias(head, scratch, std::min(first + r, head.length - 1), row);
    for (int64_t key = head.length; key < padded; ++key) row[key] = kLowest;
    Float highest = Float{} + kLowest;
    for (int64_t key = 0; key < padded; key += lanes) {
      const Float value = *reinterpret_cast<const Float*>(row + key);
      highest = value > highest ? value : highest;
    }
    float maximum = highest[0];
    for (int lane = 1; lane < lanes; ++lane) maximum = std::max(maximum, static_cast<float>(highest[lane]));
    Float sum = {};
    for (int64_t key = 0; key < padded; key += lanes) {
      Float* at = reinterpret_cast<Float*>(row + key);
      const Float weight = exp_nonpositive<lanes>(*at - maximum);
      *at = weight;
      sum += weight;
    }
    float total = 0;
    for (int lane = 0; lane < lanes; ++lane) total += sum[lane];
    inverse[r] = 1.0f / total;
  }
}

template <int lanes, int rows>
SPARSEOPS_ALWAYS_INLINE void weigh_values(const Head& head, const Scratch& scratch, int64_t first,
                                          const float* inverse) {
  using Float = typename Vectors<lanes>::Float;
  const int64_t live = std::min<int64_t>(rows, head.length - first);
  const float* scores = scratch.scores.data();
  for (int64_t d = 0; d < head.dim; d += lanes) {
    Float sums[rows] = {};
    const float* values = scratch.values.data() + d;
    for (int64_t key = 0; key < head.length; ++key) {
      const Float value = *reinterpret_cast<const Float*>(values + key * scratch.padded_dim);
      for (int r = 0; r < rows; ++r) sums[r] += scores[r * scratch.score_stride + key] * value;
    }
    for (int r = 0; r < live; ++r) {
      sums[r] *= inverse[r];
      const int64_t width = std::min<int64_t>(lanes, head.dim - d);
      std::memcpy(head.out + (first + r) * head.out_stride + d, &sums[r], width * sizeof(float));
    }
  }
}

template <int lanes, int rows>
SPARSEOPS_ALWAYS_INLINE void attend(const Head& head, Scratch& scratch) {
  scratch.padded_length = (head.length + lanes - 1) / lanes * lanes;
  scratch.padded_dim = (head.dim + lanes - 1) / lanes * lanes;
  scratch.keys.assign(head.dim * scratch.padded_length, 0);
  scratch.values.assign(head.length * scratch.padded_dim, 0);
  scratch.score_stride = scratch.padded_length + lanes;
  scratch.scores.resize(rows * scratch.score_stride);
  scratch.queries.resize(rows * head.dim);
  for (int64_t key = 0; key < head.length; ++key) {
    const float* key_row = head.query + key * head.stride + head.out_stride;
    float* column = scratch.keys.data() + key / lanes * lanes * head.dim + key % lanes;
    for (int64_t d = 0; d < head.dim; ++d) column[d * lanes] = key_row[d];
    std::copy_n(key_row + head.out_stride, head.dim, scratch.values.data() + key * scratch.padded_dim);
  }
  if (head.positions.table != nullptr) {
    scratch.table.resize(3 * (2 * head.positions.bound + 1));
    for (size_t i = 0; i < scratch.table.size(); ++i) scratch.table[i] = head.positions.table[i * head.heads];
    scratch.voxels.resize(3 * head.length);
    for (int64_t i = 0; i < 3 * head.length; ++i) {
      scratch.voxels[i] = head.positions.voxels[i % head.length * 3 + i / head.length];
    }
  }
  float inverse[rows];
  for (int64_t first = 0; first < head.length; first += rows) {
    for (int r = 0; r < rows; ++r) {
      const float* query = head.query + std::min(first + r, head.length - 1) * head.stride;
      for (int64_t d = 0; d < head.dim; ++d) scratch.queries[d * rows + r] = query[d] * head.scale;
    }
    softmax_rows<lanes, rows>(head, scratch, first, inverse);
    weigh_values<lanes, rows>(head, scratch, first, inverse);
  }
}

using Attend = void (*)(const Head&, Scratch&);

void attend_baseline(const Head& head, Scratch& scratch) { attend<4, 4>(head, scratch); }

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void attend_avx2(const Head& head, Scratch& scratch) {
  attend<8, 6>(head, scratch);
}
__attribute__((target("avx512f"))) void attend_avx512(const Head& head, Scratch& scratch) {
  attend<16, 12>(head, scratch);
}
Attend attend_here() {
  if (__builtin_cpu_supports("avx512f")) return attend_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return attend_avx2;
  return attend_baseline;
}
#else
Attend attend_here() { return attend_baseline; }
#endif

}  // namespace

void patch_attention_cpu(const float* qkv, const int32_t* cu_seqlens, int64_t num_patches, int64_t heads, int64_t dim,
                         float scale, const Positions& positions, float* out) {
  const Attend attend_head = attend_here();
  const int64_t width = heads * dim;
  at::parallel_for(0, num_patches * heads, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t patch = task / heads, head = task % heads;
      const int64_t start = cu_seqlens[patch], length = cu_seqlens[patch + 1] - start;
      Positions own = positions;
      if (own.table != nullptr) own = {own.table + head, own.voxels + start * 3, own.bound};
      attend_head({qkv + start * 3 * width + head * dim, own, out + start * width + head * dim, length, 3 * width,
                   width, dim, heads, scale},
                  scratch);
    }
  });
}

}  // namespace sparseops
