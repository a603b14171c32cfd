// The convolution of a block for any processor: vectors of four floats (SSE2, NEON).
#include "conv/conv_cpu.h"

#define TARGET
#define WIDTH 4
#ifdef __aarch64__
#define ROWS 6
#else
#define ROWS 3
#endif
#define PANELS 1
#include "conv/conv_block.h"

void sparseops::convolve_block_generic(const Convolution& conv, const Block& block, const Scratch& scratch) {
  conv.bfloat16 ? convolve_block<uint32_t, uint16_t>(conv, block, scratch)
                : convolve_block<float, float>(conv, block, scratch);
}
