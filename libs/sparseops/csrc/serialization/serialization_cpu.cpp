// Codes along space-filling curves and their sorted orders, on the CPU.
#include <ATen/Parallel.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "serialization/curves.h"
#include "serialization/serialization_cpu.h"

// compiled for several instruction sets; the loader picks one
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define SPARSEOPS_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SPARSEOPS_CLONES
#endif

namespace sparseops {
namespace {

constexpr int kBlock = 128;  // points whose coordinates stay in the first cache

// Transforms the coordinates of a block to the bits of their Hilbert codes; `depths` as in serialization_codes_cpu.
SPARSEOPS_CLONES void hilbert_block(uint32_t* x, uint32_t* y, uint32_t* z, const int64_t* depths, int depth) {
  if (depths == nullptr) {
    for (int level = depth - 1; level > 0; --level) {
      for (int i = 0; i < kBlock; ++i) hilbert_level(x[i], y[i], z[i], level, (1u << level) - 1);
    }
  } else {
    uint32_t own[kBlock];
    for (int i = 0; i < kBlock; ++i) own[i] = static_cast<uint32_t>(depths[i]);
    for (uint32_t level = depth - 1; level > 0; --level) {
      for (int i = 0; i < kBlock; ++i) hilbert_level(x[i], y[i], z[i], level, level < own[i] ? (1u << level) - 1 : 0u);
    }
  }
  for (int i = 0; i < kBlock; ++i) hilbert_ungray(x[i], y[i], z[i]);
}

SPARSEOPS_CLONES void interleave_block(const uint32_t* x, const uint32_t* y, const uint32_t* z, uint64_t* codes) {
  for (int i = 0; i < kBlock; ++i) codes[i] = interleave(x[i], y[i], z[i]);
}

// How an element of the sort holds a code and its row: in one word where both fit, else side by side.
struct Packed {
  uint64_t word;
  static Packed make(uint64_t code, uint32_t row, int row_bits) { return {code << row_bits | row}; }
  uint64_t digit(int shift, int row_bits, uint64_t mask) const { return word >> (shift + row_bits) & mask; }
  int64_t row(int row_bits) const { return static_cast<int64_t>(word & ((uint64_t{1} << row_bits) - 1)); }
};

struct Wide {
  uint64_t code;
  uint32_t index;
  static Wide make(uint64_t code, uint32_t row, int) { return {code, row}; }
  uint64_t digit(int shift, int, uint64_t mask) const { return code >> shift & mask; }
  int64_t row(int) const { return index; }
};

constexpr int kDigitBits = 10;
constexpr int64_t kChunk = 1 << 15;  // the fewest elements worth a thread of their own

// Radix sort from the lowest digit up. In a pass every chunk of every row of codes is a task.
template <typename Element>
void radix_sort(const int64_t* codes, int64_t num_rows, int64_t n, int num_bits, int row_bits, int64_t* orders,
                int64_t* inverses) {
  const int num_passes = (num_bits + kDigitBits - 1) / kDigitBits;
  const int digit_bits = (num_bits + num_passes - 1) / num_passes;
  const int64_t buckets = int64_t{1} << digit_bits;
  const int64_t threads = at::get_num_threads();
  const int64_t chunks = std::clamp<int64_t>((threads + num_rows - 1) / num_rows, 1, (n + kChunk - 1) / kChunk);
  const int64_t chunk_size = (n + chunks - 1) / chunks;
  std::vector<uint32_t> starts(num_rows * chunks * buckets);
  // pass p reads what pass p - 1 wrote, the first one the codes; the last one writes the results
  const std::unique_ptr<Element[]> buffers[2] = {
      std::unique_ptr<Element[]>(new Element[num_passes > 1 ? num_rows * n : 0]),
      std::unique_ptr<Element[]>(new Element[num_passes > 2 ? num_rows * n : 0])};

  for (int pass = 0; pass < num_passes; ++pass) {
    const int shift = pass * digit_bits;
    const uint64_t mask = buckets - 1;
    const bool first = pass == 0, last = pass + 1 == num_passes;
    const Element* from = buffers[(pass + 1) % 2].get();
    Element* to = buffers[pass % 2].get();
    auto load = [&](int64_t row, int64_t i) {
      return first ? Element::make(static_cast<uint64_t>(codes[row * n + i]), static_cast<uint32_t>(i), row_bits)
                   : from[row * n + i];
    };
    auto each_chunk = [&](auto&& work) {
      at::parallel_for(0, num_rows * chunks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t row = task / chunks, start = task % chunks * chunk_size;
          work(row, start, std::min(start + chunk_size, n), starts.data() + task * buckets);
        }
      });
    };
    each_chunk([&](int64_t row, int64_t begin, int64_t end, uint32_t* count) {
      std::fill_n(count, buckets, 0u);
      for (int64_t i = begin; i < end; ++i) ++count[load(row, i).digit(shift, row_bits, mask)];
    });
    for (int64_t row = 0; row < num_rows; ++row) {
      uint32_t start = 0;
      uint32_t* count = starts.data() + row * chunks * buckets;
      for (int64_t bucket = 0; bucket < buckets; ++bucket) {
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
          start += std::exchange(count[chunk * buckets + bucket], start);
        }
      }
    }
    each_chunk([&](int64_t row, int64_t begin, int64_t end, uint32_t* next) {
      for (int64_t i = begin; i < end; ++i) {
        const Element element = load(row, i);
        const int64_t rank = next[element.digit(shift, row_bits, mask)]++;
        if (last) {
          const int64_t index = element.row(row_bits);
          orders[row * n + rank] = index;
          inverses[row * n + index] = rank;
        } else {
          to[row * n + rank] = element;
        }
      }
    });
  }
}

int bit_length(uint64_t value) {
  int bits = 0;
  for (; value != 0; value >>= 1) ++bits;
  return bits;
}

}  // namespace

template <typename Coord>
void serialization_codes_cpu(const Coord* coord, const int64_t* batch, const int64_t* depths, int64_t n, int depth,
                             const int64_t* curves, int64_t num_curves, int64_t* codes) {
  at::parallel_for(0, (n + kBlock - 1) / kBlock, 32, [&](int64_t first, int64_t last) {
    uint32_t axes[3][kBlock] = {};
    uint32_t x[kBlock], y[kBlock], z[kBlock];
    uint64_t block_codes[kBlock];
    int64_t block_depths[kBlock] = {};
    for (int64_t block = first; block < last; ++block) {
      const int64_t start = block * kBlock;
      const int64_t size = std::min<int64_t>(kBlock, n - start);
      for (int64_t i = 0; i < size; ++i) {
        for (int axis = 0; axis < 3; ++axis) axes[axis][i] = static_cast<uint32_t>(coord[3 * (start + i) + axis]);
      }
      if (depths != nullptr) std::copy_n(depths + start, size, block_depths);
      for (int64_t k = 0; k < num_curves; ++k) {
        const bool exchanged = curves[k] == kZTrans || curves[k] == kHilbertTrans;
        const uint32_t* block_x = axes[exchanged ? 1 : 0];
        const uint32_t* block_y = axes[exchanged ? 0 : 1];
        if (curves[k] == kHilbert || curves[k] == kHilbertTrans) {
          std::copy_n(block_x, kBlock, x);
          std::copy_n(block_y, kBlock, y);
          std::copy_n(axes[2], kBlock, z);
          hilbert_block(x, y, z, depths != nullptr ? block_depths : nullptr, depth);
          interleave_block(x, y, z, block_codes);
        } else {
          interleave_block(block_x, block_y, axes[2], block_codes);
        }
        int64_t* out = codes + k * n + start;
        for (int64_t i = 0; i < size; ++i) {
          const uint64_t above = batch != nullptr ? static_cast<uint64_t>(batch[start + i]) << 3 * depth : 0;
          out[i] = static_cast<int64_t>(block_codes[i] | above);
        }
      }
    }
  });
}

template void serialization_codes_cpu(const int32_t*, const int64_t*, const int64_t*, int64_t, int, const int64_t*,
                                      int64_t, int64_t*);
template void serialization_codes_cpu(const int64_t*, const int64_t*, const int64_t*, int64_t, int, const int64_t*,
                                      int64_t, int64_t*);

void sort_codes_cpu(const int64_t* codes, int64_t num_rows, int64_t n, int num_bits, int64_t* orders,
                    int64_t* inverses) {
  if (n == 0 || num_rows == 0) return;
  const int row_bits = bit_length(n - 1);
  auto* sort = num_bits + row_bits <= 64 ? radix_sort<Packed> : radix_sort<Wide>;
  sort(codes, num_rows, n, num_bits, row_bits, orders, inverses);
}

}  // namespace sparseops
