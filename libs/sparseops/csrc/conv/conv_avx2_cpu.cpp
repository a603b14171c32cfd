// The convolution of a block with AVX2.
#include "conv/conv_cpu.h"

#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,fma")))
#define WIDTH 8
#define ROWS 6
#define PANELS 1
#include "conv/conv_block.h"

void sparseops::convolve_block_avx2(const Convolution& conv, const Block& block, const Scratch& scratch) {
  conv.bfloat16 ? convolve_block<uint32_t, uint16_t>(conv, block, scratch)
                : convolve_block<float, float>(conv, block, scratch);
}
#endif
