// Kernel maps, connected components and convolutions on the CPU against plain loops, on arrays of exactly the size they
// need.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "components/components_cpu.h"
#include "conv/conv_cpu.h"
#include "maps/maps_cpu.h"

using namespace sparseops;

namespace {

std::mt19937 generator(0);

int64_t uniform(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(generator); }

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "wrong: %s\n", what);
  std::exit(1);
}

using Voxel = std::array<int64_t, 4>;

// Distinct voxels in a box at low, in random order.
std::vector<int64_t> random_voxels(int num, int64_t low, int64_t side) {
  std::map<Voxel, int> seen;
  std::vector<int64_t> coords;
  for (int i = 0; i < num; ++i) {
    const Voxel voxel{uniform(0, 1) * (BATCH_LIMIT - 1), uniform(low, low + side - 1), uniform(low, low + side - 1),
                      uniform(low, low + side - 1)};
    if (seen.emplace(voxel, 0).second) coords.insert(coords.end(), voxel.begin(), voxel.end());
  }
  return coords;
}

std::vector<int32_t> check_submanifold(const std::vector<int64_t>& coords, int64_t kernel_size) {
  const int64_t num = coords.size() / 4, half = kernel_size / 2;
  require(within_limits(coords.data(), num), "limits");
  const Keys keys = sort_keys(coords.data(), num, half, 0);
  require(!has_duplicates(keys), "no duplicates");
  std::vector<int32_t> rows(kernel_size * kernel_size * kernel_size * num);
  submanifold_table(keys, kernel_size, rows.data());
  std::map<Voxel, int32_t> row_of;
  for (int64_t i = 0; i < num; ++i)
    row_of[{coords[4 * i], coords[4 * i + 1], coords[4 * i + 2], coords[4 * i + 3]}] = static_cast<int32_t>(i);
  int64_t offset = 0;
  for (int64_t dx = -half; dx <= half; ++dx)
    for (int64_t dy = -half; dy <= half; ++dy)
      for (int64_t dz = -half; dz <= half; ++dz, ++offset)
        for (int64_t i = 0; i < num; ++i) {
          const auto found =
              row_of.find({coords[4 * i], coords[4 * i + 1] + dx, coords[4 * i + 2] + dy, coords[4 * i + 3] + dz});
          require(rows[offset * num + i] == (found == row_of.end() ? -1 : found->second), "submanifold table");
        }
  return rows;
}

// Voxels beside each other by `rows`, each with up to two nodes; joined again and again until nothing changes.
void check_components(const std::vector<int32_t>& rows, int64_t num) {
  const int64_t half = num > 0 ? static_cast<int64_t>(rows.size()) / num / 2 : 0;
  std::vector<int64_t> offsets{0}, labels;
  for (int64_t place = 0; place < num; ++place) {
    for (int64_t label = 0; label < 2; ++label)
      if (uniform(0, 2) > 0) labels.push_back(label);
    offsets.push_back(static_cast<int64_t>(labels.size()));
  }
  const auto num_nodes = static_cast<int64_t>(labels.size());
  std::vector<int64_t> found(num_nodes), expected(num_nodes);
  connected_components_cpu({rows.data(), offsets.data(), labels.data(), num, num_nodes}, half, found.data());
  for (int64_t node = 0; node < num_nodes; ++node) expected[node] = node;
  for (bool changed = true; changed;) {
    changed = false;
    for (int64_t entry = 0; entry < half * num; ++entry) {
      if (rows[entry] < 0) continue;
      for (int64_t one = offsets[entry % num]; one < offsets[entry % num + 1]; ++one)
        for (int64_t other = offsets[rows[entry]]; other < offsets[rows[entry] + 1]; ++other) {
          if (labels[one] != labels[other] || expected[one] == expected[other]) continue;
          expected[one] = expected[other] = std::min(expected[one], expected[other]);
          changed = true;
        }
    }
  }
  require(found == expected, "connected components");
}

void check_strided(const std::vector<int64_t>& coords) {
  const int64_t num = coords.size() / 4;
  std::vector<int32_t> parent(num), parents(8 * num);
  std::vector<int64_t> coarse(4 * num);
  const int64_t num_coarse = coarser_voxels(coords.data(), num, parent.data(), coarse.data());
  std::vector<int32_t> children(8 * num_coarse);
  require(strided_tables(coords.data(), num, parent.data(), num_coarse, children.data(), parents.data()), "distinct");
  for (int64_t i = 0; i < num; ++i) {
    const int64_t offset = coords[4 * i + 1] % 2 * 4 + coords[4 * i + 2] % 2 * 2 + coords[4 * i + 3] % 2;
    require(parents[offset * num + i] == parent[i], "parents");
    require(children[offset * num_coarse + parent[i]] == i, "children");
    for (int axis = 1; axis < 4; ++axis)
      require(coarse[4 * parent[i] + axis] == coords[4 * i + axis] / 2, "coarser voxels");
  }
}

float rounded(float value) {  // to bfloat16, towards zero
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits &= 0xffff0000u;
  std::memcpy(&value, &bits, 4);
  return value;
}

std::vector<float> random_floats(int64_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = rounded(normal(generator));
  return values;
}

std::vector<uint16_t> to_bfloat16(const std::vector<float>& values) {
  std::vector<uint16_t> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits;
    std::memcpy(&bits, &values[i], 4);
    out[i] = static_cast<uint16_t>(bits >> 16);
  }
  return out;
}

float from_bfloat16(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float out;
  std::memcpy(&out, &bits, 4);
  return out;
}

// function null: convolve() as a whole.
void check_convolution(BlockFunction function, bool bfloat16, const std::vector<int32_t>& rows, int64_t num, int64_t in,
                       int64_t out) {
  const int64_t offsets = rows.size() / num, panels = (out + PANEL - 1) / PANEL;
  const std::vector<float> features = random_floats(num * in), weight = random_floats(out * offsets * in),
                           bias = random_floats(out), residual = random_floats(num * out);
  const int64_t units = bfloat16 ? (in + 1) / 2 : in;
  std::vector<float> packed(bfloat16 ? 0 : offsets * panels * units * PANEL), result(bfloat16 ? 0 : num * out);
  std::vector<uint16_t> packed16(bfloat16 ? offsets * panels * units * PANEL * 2 : 0),
      result16(bfloat16 ? num * out : 0);
  const std::vector<uint16_t> residual16 = to_bfloat16(residual);
  std::vector<uint16_t> features16(num * units * 2);
  const std::vector<uint16_t> weight16 = to_bfloat16(weight), narrow = to_bfloat16(features);
  for (int64_t i = 0; i < num; ++i)
    for (int64_t c = 0; c < in; ++c) features16[i * units * 2 + c] = narrow[i * in + c];
  Convolution conv{};
  if (bfloat16) {
    pack_bfloat16(weight16.data(), out, offsets, in, packed16.data());
    conv.features = features16.data(), conv.weight = packed16.data(), conv.residual = residual16.data();
    conv.out = result16.data();
  } else {
    pack_float(weight.data(), out, offsets, in, packed.data());
    conv.features = features.data(), conv.weight = packed.data(), conv.residual = residual.data();
    conv.out = result.data();
  }
  conv.rows = rows.data(), conv.bias = bias.data();
  conv.num_in = conv.num_out = num, conv.num_offsets = offsets, conv.units = units, conv.out_channels = out;
  conv.panels = panels, conv.bfloat16 = bfloat16, conv.relu = true;
  if (function == nullptr) {
    convolve(conv);
  } else {
    std::vector<float> sums(num * panels * PANEL + 16);
    std::vector<int32_t> pair_in(num + 1), pair_out(num + 1);
    float* aligned = sums.data() + (64 - reinterpret_cast<uintptr_t>(sums.data()) % 64) % 64 / 4;
    function(conv, {0, num, 0, panels}, {aligned, pair_in.data(), pair_out.data()});
  }
  for (int64_t i = 0; i < num; ++i)
    for (int64_t o = 0; o < out; ++o) {
      double sum = bias[o] + residual[i * out + o], size = std::abs(sum) + 1;
      for (int64_t k = 0; k < offsets; ++k) {
        const int64_t row = rows[k * num + i];
        if (row < 0 || row >= num) continue;
        for (int64_t c = 0; c < in; ++c) {
          const double product = double{features[row * in + c]} * weight[(o * offsets + k) * in + c];
          sum += product, size += std::abs(product);
        }
      }
      const double found = bfloat16 ? from_bfloat16(result16[i * out + o]) : result[i * out + o];
      const double expected = sum < 0 ? 0 : sum;
      require(std::abs(found - expected) < 1e-5 * size + (bfloat16 ? 0.004 * std::abs(expected) : 0), "convolution");
    }
}

}  // namespace

int main() {
  for (const int64_t low : {int64_t{0}, int64_t{7}, COORD_LIMIT - 6})
    for (const int num : {0, 1, 2, 40, 400}) {
      const std::vector<int64_t> coords = random_voxels(num, low, 6);
      for (const int64_t kernel_size : {1, 3, 5, 7})
        check_components(check_submanifold(coords, kernel_size), static_cast<int64_t>(coords.size()) / 4);
      check_strided(coords);
    }
  const std::vector<int64_t> many = random_voxels(10000, 0, 24);  // for several threads
  check_components(check_submanifold(many, 3), static_cast<int64_t>(many.size()) / 4);

  std::vector<int64_t> corners;  // of all that can be: keys of 63 bits
  for (const int64_t batch : {int64_t{0}, BATCH_LIMIT - 1})
    for (const int64_t at : {int64_t{0}, COORD_LIMIT - 1}) corners.insert(corners.end(), {batch, at, at, at});
  check_submanifold(corners, 3);
  check_strided(corners);
  const std::vector<int64_t> twice{0, 1, 2, 3, 0, 1, 2, 3};
  require(has_duplicates(sort_keys(twice.data(), 2, 1, 0)), "duplicates");
  const std::vector<int32_t> parent{0, 0};
  std::vector<int32_t> children(8), parents(16);
  require(!strided_tables(twice.data(), 2, parent.data(), 1, children.data(), parents.data()), "strided duplicates");
  const std::vector<int64_t> outside{0, COORD_LIMIT, 0, 0};
  require(!within_limits(outside.data(), 1), "outside");

  std::vector<BlockFunction> functions{nullptr, convolve_block_generic};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) functions.push_back(convolve_block_avx2);
  if (__builtin_cpu_supports("avx512bw")) functions.push_back(convolve_block_avx512);
  const bool has_bf16 = __builtin_cpu_supports("avx512bf16");
#else
  const bool has_bf16 = false;
#endif
  const std::vector<int64_t> coords = random_voxels(300, 3, 8);
  std::vector<int32_t> rows = check_submanifold(coords, 3);
  const int64_t num = coords.size() / 4;
  rows[5] = static_cast<int32_t>(num), rows[6] = INT32_MAX, rows[7] = INT32_MIN;  // no rows of the input
  const std::pair<int64_t, int64_t> widths[] = {{0, 0}, {0, 17}, {5, 0}, {1, 1}, {6, 32}, {7, 20}, {16, 16}, {33, 49}};
  for (const auto& [in, out] : widths) {
    for (const BlockFunction function : functions)
      for (const bool bfloat16 : {false, true}) check_convolution(function, bfloat16, rows, num, in, out);
#if defined(__x86_64__)
    if (has_bf16) check_convolution(convolve_block_avx512_bf16, true, rows, num, in, out);
#endif
  }
  std::puts("right");
}
