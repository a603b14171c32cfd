// torch's threads, stood in for by std::thread, so that sanitizers see nothing but the code under test.
#pragma once

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

namespace at {

inline int get_num_threads() { return 3; }

template <typename F>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const F& body) {
  const int64_t step = std::max(grain, (end - begin + get_num_threads() - 1) / get_num_threads());
  std::vector<std::thread> threads;
  for (int64_t from = begin; from < end; from += step)
    threads.emplace_back([&body, from, to = std::min(from + step, end)] { body(from, to); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace at
