// The convolution of a block with AVX-512, and with its bfloat16 products.
#include "conv/conv_cpu.h"

#if defined(__x86_64__)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define WIDTH 16
#define ROWS 12
#define PANELS 2
#include "conv/conv_block.h"

void sparseops::convolve_block_avx512(const Convolution& conv, const Block& block, const Scratch& scratch) {
  conv.bfloat16 ? convolve_block<uint32_t, uint16_t>(conv, block, scratch)
                : convolve_block<float, float>(conv, block, scratch);
}
#endif
