// Output rows of a kernel map in an order in which those with like neighbours lie together.
#include <algorithm>
#include <numeric>

#include "launch.cuh"
#include "maps_cuda.h"
#include "radix_sort.h"
#include "threads.cuh"

namespace sparseops::gpu {
namespace {

// The offsets by how much they weigh in the order of rows, the heaviest first.
struct Ranking {
  int8_t offsets[kMaxGroupedOffsets];
};

// Of a kernel of size 3 the corners, then the edges, then the faces: on surfaces the rarer a neighbour is the more steps
// are left out where the rows that have it lie together.
Ranking ranking_for(int num_offsets) {
  Ranking ranking{};
  const auto end = ranking.offsets + num_offsets;
  std::iota(ranking.offsets, end, int8_t{0});
  const auto distance = [](int offset) { return (offset / 9 != 1) + (offset / 3 % 3 != 1) + (offset % 3 != 1); };
  if (num_offsets == 27) {
    std::stable_sort(ranking.offsets, end, [&](int8_t a, int8_t b) { return distance(a) > distance(b); });
  }
  return ranking;
}

// Masks in the order of a Gray code, backwards: rows that follow each other differ in few offsets, and those with the
// most neighbours come first, so that the last blocks to run are short.
__global__ void key_neighbours(const int* forwards, int num_offsets, int num_out, Ranking ranking, uint64_t* keys,
                               uint32_t* rows) {
  const int64_t row = thread_index();
  if (row >= num_out) return;
  uint32_t mask = 0;
#pragma unroll 9
  for (int rank = 0; rank < num_offsets; ++rank) {
    const int64_t offset = ranking.offsets[rank];
    mask = mask << 1 | static_cast<uint32_t>(__ldg(forwards + offset * num_out + row) >= 0);
  }
  for (int shift = 1; shift < 32; shift *= 2) mask ^= mask >> shift;
  keys[row] = ~mask & ((1u << num_offsets) - 1);
  rows[row] = static_cast<uint32_t>(row);
}

__global__ void gather_columns(const int* forwards, int num_out, const uint32_t* order, int* grouped, int* order_out) {
  const int64_t column = thread_index();
  if (column >= num_out) return;
  const int64_t offset = static_cast<int64_t>(blockIdx.y) * num_out, row = __ldg(order + column);
  grouped[offset + column] = __ldg(forwards + offset + row);
  if (blockIdx.y == 0) order_out[column] = static_cast<int>(row);
}

// Splits scratch memory for the sort, whose own comes last; returns the bytes it takes.
int64_t split(char* memory, int num_offsets, int num_out, Pairs* pairs, void** sort_scratch) {
  int64_t used = 0;
  auto part = [&](int64_t bytes) {
    char* at = memory + used;
    used += (bytes + 255) / 256 * 256;
    return at;
  };
  const int64_t rows = num_out;
  for (auto& keys : pairs->keys) keys = reinterpret_cast<uint64_t*>(part(rows * 8));
  for (auto& values : pairs->values) values = reinterpret_cast<uint32_t*>(part(rows * 4));
  *sort_scratch = part(static_cast<int64_t>(radix_sort_scratch(num_out, num_offsets)));
  return used;
}

}  // namespace

int64_t group_rows_scratch(int num_offsets, int num_out) {
  Pairs pairs;
  void* sort_scratch = nullptr;
  return split(nullptr, num_offsets, num_out, &pairs, &sort_scratch);
}

cudaError_t group_rows(const int* forwards, int num_offsets, int num_out, int* grouped, int* order, void* memory,
                       cudaStream_t stream) {
  if (num_out == 0) return cudaSuccess;
  Pairs pairs;
  void* sort_scratch = nullptr;
  split(static_cast<char*>(memory), num_offsets, num_out, &pairs, &sort_scratch);
  cudaError_t error = launch(key_neighbours, dim3(blocks_for(num_out)), kThreads, 0, stream, forwards, num_offsets,
                             num_out, ranking_for(num_offsets), pairs.keys[0], pairs.values[0]);
  if (error != cudaSuccess) return error;
  SortedPairs sorted{};
  error = radix_sort(pairs, num_out, num_offsets, sort_scratch, radix_sort_scratch(num_out, num_offsets), stream,
                     &sorted);
  if (error != cudaSuccess) return error;
  const dim3 blocks(blocks_for(num_out), static_cast<unsigned>(num_offsets));
  return launch(gather_columns, blocks, kThreads, 0, stream, forwards, num_out, sorted.values, grouped, order);
}

}  // namespace sparseops::gpu
