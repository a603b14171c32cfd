// Sparse convolution in blocks of output rows and panels, taken by the threads as they come.
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>

#include "conv/conv_cpu.h"

namespace sparseops {
namespace {

constexpr int64_t BLOCK_ROWS = 256, BLOCK_PANELS = 16, LEAST_BLOCK_ROWS = 32, BLOCKS_PER_THREAD = 4;
constexpr std::align_val_t CACHE_LINE{64};

struct Release {
  void operator()(void* memory) const { ::operator delete(memory, CACHE_LINE); }
};

template <typename T>
std::unique_ptr<T, Release> aligned(int64_t count) {
  return std::unique_ptr<T, Release>(static_cast<T*>(::operator new(count * sizeof(T), CACHE_LINE)));
}

BlockFunction fastest(bool bfloat16) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx512 && bfloat16 && __builtin_cpu_supports("avx512bf16")) return convolve_block_avx512_bf16;
  if (avx512) return convolve_block_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return convolve_block_avx2;
#endif
  return convolve_block_generic;
}

template <typename T>
void pack(const T* weight, int64_t out_channels, int64_t num_offsets, int64_t in_channels, int64_t per_unit, T* to) {
  const int64_t panels = (out_channels + PANEL - 1) / PANEL, units = (in_channels + per_unit - 1) / per_unit;
  const int64_t panel_size = units * PANEL * per_unit;
  std::fill(to, to + num_offsets * panels * panel_size, T{0});
  at::parallel_for(0, num_offsets * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const int64_t offset = index / panels, first = index % panels * PANEL;
      for (int64_t out = first; out < std::min(first + PANEL, out_channels); ++out)
        for (int64_t in = 0; in < in_channels; ++in)
          to[index * panel_size + (in / per_unit * PANEL + out - first) * per_unit + in % per_unit] =
              weight[(out * num_offsets + offset) * in_channels + in];
    }
  });
}

}  // namespace

void pack_float(const float* weight, int64_t out_channels, int64_t num_offsets, int64_t in_channels, float* to) {
  pack(weight, out_channels, num_offsets, in_channels, 1, to);
}

void pack_bfloat16(const uint16_t* weight, int64_t out_channels, int64_t num_offsets, int64_t in_channels,
                   uint16_t* to) {
  pack(weight, out_channels, num_offsets, in_channels, 2, to);
}

void convolve(const Convolution& conv) {
  if (conv.panels == 0) return;
  const BlockFunction convolve_block = fastest(conv.bfloat16);
  const int64_t num_threads = at::get_num_threads();
  const int64_t block_panels = std::min(conv.panels, BLOCK_PANELS);
  const int64_t groups = (conv.panels + block_panels - 1) / block_panels;
  int64_t block_rows = BLOCK_ROWS;
  while (block_rows > LEAST_BLOCK_ROWS && conv.num_out / block_rows * groups < BLOCKS_PER_THREAD * num_threads)
    block_rows /= 2;
  const int64_t num_blocks = (conv.num_out + block_rows - 1) / block_rows * groups;
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min(num_threads, num_blocks), 1, [&](int64_t, int64_t) {
    const auto sums = aligned<float>(block_rows * block_panels * PANEL);
    const auto pairs = aligned<int32_t>(2 * (block_rows + 1));
    const Scratch scratch{sums.get(), pairs.get(), pairs.get() + block_rows + 1};
    for (int64_t index = next++; index < num_blocks; index = next++) {
      const int64_t begin = index / groups * block_rows, panel_begin = index % groups * block_panels;
      convolve_block(conv,
                     {begin, std::min(begin + block_rows, conv.num_out), panel_begin,
                      std::min(panel_begin + block_panels, conv.panels)},
                     scratch);
    }
  });
}

}  // namespace sparseops
