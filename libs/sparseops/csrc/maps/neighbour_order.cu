// Output rows of a kernel map in an order in which those with like neighbours lie together.
#include <algorithm>
#include <numeric>

#include "common/launch.cuh"
#include "common/radix_sort.h"
#include "common/threads.cuh"
#include "maps/maps_cuda.h"

namespace sparseops::gpu {

using namespace common;

namespace {

// The offsets by how much they weigh in the order of rows, the heaviest first.
struct Ranking {
  int8_t offsets[kMaxGroupedOffsets];
};

// Of a kernel of size 3 the corners, then the edges, then the faces: on surfaces the rarer a neighbour is the more
// steps are left out where the rows that have it lie together.
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

// So many of the heaviest offsets are sorted by: three passes of eight bits. A fourth, for the centre and two faces of
// a kernel of size 3, would leave out 0.1 % of the steps of a convolution.
constexpr int kSortedOffsets = 24;

// Masks in the order of a Gray code, backwards: rows that follow each other differ in few offsets, and those with the
// most neighbours come first, so that the last blocks to run are short.
__global__ void key_neighbours(const int* forwards, int sorted_offsets, int num_out, Ranking ranking, uint64_t* keys,
                               uint32_t* rows) {
  const int64_t row = thread_index();
  if (row >= num_out) return;
  uint32_t mask = 0;
#pragma unroll 8
  for (int rank = 0; rank < sorted_offsets; ++rank) {
    const int64_t offset = ranking.offsets[rank];
    mask = mask << 1 | static_cast<uint32_t>(__ldg(forwards + offset * num_out + row) >= 0);
  }
  for (int shift = 1; shift < 32; shift *= 2) mask ^= mask >> shift;
  keys[row] = ~mask & ((1u << sorted_offsets) - 1);
  rows[row] = static_cast<uint32_t>(row);
}

__global__ void gather_columns(const int* forwards, int num_out, const uint32_t* order, int* grouped, int* order_out) {
  const int64_t column = thread_index();
  if (column >= num_out) return;
  const int64_t offset = static_cast<int64_t>(blockIdx.y) * num_out, row = __ldg(order + column);
  grouped[offset + column] = __ldg(forwards + offset + row);
  if (blockIdx.y == 0) order_out[column] = static_cast<int>(row);
}

// The parts of scratch memory.
struct Parts {
  int sorted_offsets;
  Pairs pairs;
  size_t library_bytes;
  void* library;  // of the sort
};

Parts split(Scratch& scratch, int num_offsets, int num_out) {
  Parts parts{};
  parts.sorted_offsets = std::min(num_offsets, kSortedOffsets);
  parts.pairs = take_pairs(scratch, num_out);
  parts.library_bytes = radix_sort_scratch(num_out, parts.sorted_offsets);
  parts.library = scratch.take<char>(static_cast<int64_t>(parts.library_bytes));
  return parts;
}

}  // namespace

int64_t group_rows_scratch(int num_offsets, int num_out) {
  Scratch counted;
  split(counted, num_offsets, num_out);
  return counted.used();
}

cudaError_t group_rows(const int* forwards, int num_offsets, int num_out, int* grouped, int* order, void* memory,
                       cudaStream_t stream) {
  if (num_out == 0) return cudaSuccess;
  Scratch scratch(memory);
  const Parts parts = split(scratch, num_offsets, num_out);
  cudaError_t error =
      launch(key_neighbours, dim3(blocks_for(num_out)), kThreads, 0, stream, forwards, parts.sorted_offsets, num_out,
             ranking_for(num_offsets), parts.pairs.keys[0], parts.pairs.values[0]);
  if (error != cudaSuccess) return error;
  SortedPairs sorted{};
  error = radix_sort(parts.pairs, num_out, parts.sorted_offsets, parts.library, parts.library_bytes, stream, &sorted);
  if (error != cudaSuccess) return error;
  const dim3 blocks(blocks_for(num_out), static_cast<unsigned>(num_offsets));
  return launch(gather_columns, blocks, kThreads, 0, stream, forwards, num_out, sorted.values, grouped, order);
}

}  // namespace sparseops::gpu
