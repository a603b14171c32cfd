// The convolution of a block of bfloat16 with AVX-512's products of bfloat16.
#include "conv/conv_cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))
#define WIDTH 16
#define ROWS 12
#define PANELS 2
#define DOT(sum, a, b) (Floats) _mm512_dpbf16_ps((__m512)(sum), (__m512bh)(a), (__m512bh)(b))
#include "conv/conv_block.h"

void sparseops::convolve_block_avx512_bf16(const Convolution& conv, const Block& block, const Scratch& scratch) {
  convolve_block<uint32_t, uint16_t>(conv, block, scratch);
}
#endif
