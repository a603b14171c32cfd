// The convolution of one block, included once for each instruction set by a file that defines
//   TARGET  attribute of every function,
//   WIDTH   floats of a vector,
//   ROWS    most rows and PANELS most panels of a tile, whose sums are held in registers,
//   DOT     sum + product of vectors of two bfloat16 a lane, or not at all.
// No lambda and no function of a header is used inside, which would be compiled without TARGET.

namespace sparseops {
namespace {

typedef float Floats __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef uint32_t Pairs __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

template <typename Unit>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef Floats Type;
};
template <>
struct VectorOf<uint32_t> {
  typedef Pairs Type;
};

TARGET inline __attribute__((always_inline)) void add_product(Floats& sum, float value, const Floats& weight) {
  sum += value * weight;
}

TARGET inline __attribute__((always_inline)) void add_product(Floats& sum, uint32_t value, const Pairs& weight) {
  const Pairs values = value - Pairs{};
#ifdef DOT
  sum = DOT(sum, values, weight);
#else
  constexpr uint32_t high = 0xffff0000u;
  sum += (Floats)(values << 16) * (Floats)(weight << 16);
  sum += (Floats)(values & high) * (Floats)(weight & high);
#endif
}

// c[i] += a[i] * b for a tile of NUM_ROWS rows and NUM_PANELS panels, which lie panel_stride units apart.
template <typename Unit, int NUM_ROWS, int NUM_PANELS>
TARGET void multiply_tile(const Unit* const* a, float* const* c, const Unit* b, int64_t panel_stride, int64_t units) {
  typedef typename VectorOf<Unit>::Type Vector;
  constexpr int PER_PANEL = PANEL / WIDTH, VECTORS = NUM_PANELS * PER_PANEL;
  Floats sums[NUM_ROWS][VECTORS] = {};  // of this offset alone: shorter sums round less
  for (int64_t unit = 0; unit < units; ++unit) {
    Vector weights[VECTORS];
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; ++v)
      weights[v] =
          *reinterpret_cast<const Vector*>(b + v / PER_PANEL * panel_stride + unit * PANEL + v % PER_PANEL * WIDTH);
#pragma GCC unroll 16
    for (int row = 0; row < NUM_ROWS; ++row)
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; ++v) add_product(sums[row][v], a[row][unit], weights[v]);
  }
#pragma GCC unroll 16
  for (int row = 0; row < NUM_ROWS; ++row)
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; ++v) *reinterpret_cast<Floats*>(c[row] + v * WIDTH) += sums[row][v];
}

template <typename Unit>
using Tile = void (*)(const Unit* const*, float* const*, const Unit*, int64_t, int64_t);

// The tiles of 1 to ROWS rows.
template <typename Unit, int NUM_PANELS, int NUM_ROWS = ROWS>
struct Tiles {
  TARGET static Tile<Unit> of(int num_rows) {
    return num_rows == NUM_ROWS ? &multiply_tile<Unit, NUM_ROWS, NUM_PANELS>
                                : Tiles<Unit, NUM_PANELS, NUM_ROWS - 1>::of(num_rows);
  }
};
template <typename Unit, int NUM_PANELS>
struct Tiles<Unit, NUM_PANELS, 1> {
  TARGET static Tile<Unit> of(int) { return &multiply_tile<Unit, 1, NUM_PANELS>; }
};

// sums[out[i]] += features[in[i]] * weight for the pairs i of one offset, over NUM_PANELS panels.
template <typename Unit, int NUM_PANELS>
TARGET void multiply_pairs(const Unit* features, const Unit* weight, int64_t units, const Scratch& scratch,
                           int64_t num_pairs, float* sums, int64_t sums_stride) {
  const int64_t num_tiles = (num_pairs + ROWS - 1) / ROWS;
  int64_t pair = 0;
  for (int64_t tile = 0; tile < num_tiles; ++tile) {
    const int64_t num_rows = (num_pairs - pair + num_tiles - tile - 1) / (num_tiles - tile);  // about even tiles
    const Unit* a[ROWS];
    float* c[ROWS];
    for (int64_t row = 0; row < num_rows; ++row, ++pair) {
      a[row] = features + scratch.in[pair] * units;
      c[row] = sums + scratch.out[pair] * sums_stride;
    }
    Tiles<Unit, NUM_PANELS>::of(static_cast<int>(num_rows))(a, c, weight, units * PANEL, units);
  }
}

TARGET inline float to_float(float value) { return value; }

TARGET inline float to_float(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float out;
  __builtin_memcpy(&out, &bits, 4);
  return out;
}

TARGET inline void store(float value, float* to) { *to = value; }

TARGET inline void store(float value, uint16_t* to) {  // bfloat16, to the nearest, ties to even; NaN stays NaN
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  *to = static_cast<uint16_t>(value != value ? 0x7fc0 : rounded);
}

template <typename Unit, typename Value>
TARGET void convolve_block(const Convolution& conv, const Block& block, const Scratch& scratch) {
  const int64_t num_rows = block.end - block.begin, num_panels = block.panel_end - block.panel_begin;
  const int64_t stride = num_panels * PANEL;
  __builtin_memset(scratch.sums, 0, num_rows * stride * sizeof(float));
  const Unit* features = static_cast<const Unit*>(conv.features);
  for (int64_t offset = 0; offset < conv.num_offsets; ++offset) {
    int64_t num_pairs = 0;
    for (int64_t row = 0; row < num_rows; ++row) {
      const int64_t out = block.begin + row;
      const int32_t in = conv.rows == nullptr ? static_cast<int32_t>(out) : conv.rows[offset * conv.num_out + out];
      scratch.in[num_pairs] = in;
      scratch.out[num_pairs] = static_cast<int32_t>(row);
      num_pairs += static_cast<uint32_t>(in) < static_cast<uint64_t>(conv.num_in);
    }
    const Unit* weight =
        static_cast<const Unit*>(conv.weight) + (offset * conv.panels + block.panel_begin) * conv.units * PANEL;
    int64_t panel = 0;
    for (; panel + PANELS <= num_panels; panel += PANELS)
      multiply_pairs<Unit, PANELS>(features, weight + panel * conv.units * PANEL, conv.units, scratch, num_pairs,
                                   scratch.sums + panel * PANEL, stride);
    for (; panel < num_panels; ++panel)
      multiply_pairs<Unit, 1>(features, weight + panel * conv.units * PANEL, conv.units, scratch, num_pairs,
                              scratch.sums + panel * PANEL, stride);
  }
  const int64_t first = block.panel_begin * PANEL;
  const int64_t last = block.panel_end * PANEL < conv.out_channels ? block.panel_end * PANEL : conv.out_channels;
  for (int64_t row = 0; row < num_rows; ++row) {
    float* sums = scratch.sums + row * stride;
    const int64_t start = (block.begin + row) * conv.out_channels + first;
    Value* out = static_cast<Value*>(conv.out) + start;
    if (conv.bias != nullptr)
      for (int64_t channel = 0; channel < last - first; ++channel) sums[channel] += conv.bias[first + channel];
    if (conv.residual != nullptr) {
      const Value* residual = static_cast<const Value*>(conv.residual) + start;
      for (int64_t channel = 0; channel < last - first; ++channel) sums[channel] += to_float(residual[channel]);
    }
    if (conv.relu)  // a NaN stays
      for (int64_t channel = 0; channel < last - first; ++channel)
        sums[channel] = sums[channel] < 0 ? 0 : sums[channel];
    for (int64_t channel = 0; channel < last - first; ++channel) store(sums[channel], out + channel);
  }
}

}  // namespace
}  // namespace sparseops
