// What the programs under the sanitizers have in common.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

// Memory of exactly `size` elements, zeros, so that one step further is seen.
template <typename T>
std::unique_ptr<T[]> array(int64_t size) {
  return std::unique_ptr<T[]>(new T[size]());
}
