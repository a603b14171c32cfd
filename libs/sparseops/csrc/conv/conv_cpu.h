// Sparse convolution on the CPU: what a block of outputs needs, and the kernels for it, one an instruction set.
#pragma once

#include <cstdint>

namespace sparseops {

constexpr int64_t PANEL = 16;  // output channels side by side in a packed weight

// out[r] = act(bias + residual[r] + sum over offsets k of features[rows[k][r]] * weight[k]), rows < 0 left out.
// A unit is a float, or two bfloat16 of neighbouring input channels in 32 bits.
struct Convolution {
  const void* features;  // (num_in, units)
  const void* weight;    // (num_offsets, panels, units, PANEL)
  const int32_t* rows;   // (num_offsets, num_out), or null: row r reads row r, at one offset
  const float* bias;     // (out_channels) or null
  const void* residual;  // (num_out, out_channels) of the features' type, or null
  void* out;             // (num_out, out_channels) of the features' type
  int64_t num_in, num_out, num_offsets, units, out_channels, panels;
  bool bfloat16;
  bool relu;
};

// A rectangle of the output: rows [begin, end), panels [panel_begin, panel_end).
struct Block {
  int64_t begin, end, panel_begin, panel_end;
};

// Scratch of one thread: sums (block rows, block panels * PANEL) aligned to 64 bytes, and a pair list of block rows.
struct Scratch {
  float* sums;
  int32_t* in;
  int32_t* out;
};

using BlockFunction = void (*)(const Convolution&, const Block&, const Scratch&);

// Each sum is taken over the input channels of an offset, one after the other, then over the offsets, whatever the
// block: the result of a row depends neither on its neighbours nor on the number of threads.
void convolve_block_generic(const Convolution&, const Block&, const Scratch&);
#if defined(__x86_64__)
void convolve_block_avx2(const Convolution&, const Block&, const Scratch&);
void convolve_block_avx512(const Convolution&, const Block&, const Scratch&);
void convolve_block_avx512_bf16(const Convolution&, const Block&, const Scratch&);
#endif

// to (num_offsets, panels, units, PANEL) from the weight (out_channels, num_offsets, in_channels), zeros beyond.
void pack_float(const float* weight, int64_t out_channels, int64_t num_offsets, int64_t in_channels, float* to);
void pack_bfloat16(const uint16_t* weight, int64_t out_channels, int64_t num_offsets, int64_t in_channels,
                   uint16_t* to);

void convolve(const Convolution& conv);

}  // namespace sparseops
