// The rules of Pointcept's ball query, the same on CPU and CUDA.
#pragma once

#include "search/numbers.h"

namespace pointops {

// A candidate lies in the shell min ≤ d < max, or closer than about 3 mm.
struct Shell {
  float min2, max2;
  HOST_DEVICE_INLINE Shell(float min_radius, float max_radius)
      : min2(min_radius * min_radius), max2(max_radius * max_radius) {}
  HOST_DEVICE_INLINE bool holds(float d2) const { return d2 <= 1e-5f || (d2 >= min2 && d2 < max2); }
  HOST_DEVICE_INLINE float reach2() const { return max2 > 1e-5f ? max2 : 1e-5f; }
  // (bits of a squared distance, index) behind all candidates
  HOST_DEVICE_INLINE uint64_t bound() const { return uint64_t{float_bits(reach2())} << 32 | 0xffffffff; }
};

// Sequence of packed (high, low) words whose elements lie stride apart.
struct Strided {
  uint64_t* data;
  int64_t stride;
  HOST_DEVICE_INLINE uint64_t& operator[](int64_t i) const { return data[i * stride]; }
};

template <class Key>
HOST_DEVICE_INLINE void sift_down(Strided heap, int64_t root, int64_t size, Key key) {
  const uint64_t moved = heap[root];
  for (int64_t child = 2 * root + 1; child < size; child = 2 * root + 1) {
    uint64_t larger = heap[child];
    if (child + 1 < size) {
      const uint64_t other = heap[child + 1];
      if (key(other) > key(larger)) {
        larger = other;
        ++child;
      }
    }
    if (key(moved) > key(larger)) break;
    heap[root] = larger;
    root = child;
  }
  heap[root] = moved;
}

// Takes the root of the heap and puts it behind the rest, until nothing is left.
template <class Key>
HOST_DEVICE_INLINE void drain(Strided heap, int64_t size, Key key) {
  for (int64_t last = size - 1; last > 0; --last) {
    const uint64_t root = heap[0];
    heap[0] = heap[last];
    heap[last] = root;
    sift_down(heap, 0, last, key);
  }
}

struct Whole {
  HOST_DEVICE_INLINE uint64_t operator()(uint64_t pair) const { return pair; }
};
struct Low {
  HOST_DEVICE_INLINE uint32_t operator()(uint64_t pair) const { return low(pair); }
};

HOST_DEVICE_INLINE void heap_sort(Strided pairs, int64_t size) {
  for (int64_t root = size / 2 - 1; root >= 0; --root) sift_down(pairs, root, size, Whole{});
  drain(pairs, size, Whole{});
}

// Candidates (index, bits of d2), ascending by index, in the order in which Pointcept's kernel leaves them: its heap
// sort drains the list without having made it a heap, so they come only roughly by distance.
HOST_DEVICE_INLINE void drained_heap(Strided candidates, int64_t size) { drain(candidates, size, Low{}); }

// Which candidate is the sample-th of an even choice of samples among found > samples.
HOST_DEVICE_INLINE int64_t even_choice(int64_t sample, int64_t samples, int64_t found) {
  const float step = static_cast<float>(found) / static_cast<float>(samples);
  const int64_t chosen = static_cast<int64_t>(step * static_cast<float>(sample));
  return chosen < found ? chosen : found - 1;
}

}  // namespace pointops
