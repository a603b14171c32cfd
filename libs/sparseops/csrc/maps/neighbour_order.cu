// Output rows of kernel maps in an order in which those with like neighbours lie together, of several maps by one sort.
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

// A map: its rows are `num_out` threads from `first` on.
struct Map {
  const int* forwards;
  int* grouped;
  int* order;
  int num_offsets, num_out, first;
};

struct Maps {
  Map at[kMaxMaps];
  int count, num_rows, sorted_offsets;

  // The number of the map whose thread this is, or of the last.
  __device__ int of(int64_t thread) const {
    int map = 0;
    while (map + 1 < count && thread >= at[map + 1].first) ++map;
    return map;
  }
};

// Masks in the order of a Gray code, backwards: rows that follow each other differ in few offsets, and those with the
// most neighbours come first, so that the last blocks to run are short. Above the mask is the number of the map.
__global__ void __launch_bounds__(kThreads)
    key_neighbours(const Maps maps, Ranking of_27, Ranking plain, uint64_t* keys, uint32_t* rows) {
  const int64_t thread = thread_index();
  if (thread >= maps.num_rows) return;
  const int number = maps.of(thread);
  const Map& map = maps.at[number];
  const int64_t row = thread - map.first;
  const Ranking& ranking = map.num_offsets == 27 ? of_27 : plain;
  const int sorted_offsets = min(map.num_offsets, maps.sorted_offsets);
  uint32_t mask = 0;
#pragma unroll 8
  for (int rank = 0; rank < sorted_offsets; ++rank) {
    const int64_t offset = ranking.offsets[rank];
    mask = mask << 1 | static_cast<uint32_t>(__ldg(map.forwards + offset * map.num_out + row) >= 0);
  }
  for (int shift = 1; shift < 32; shift *= 2) mask ^= mask >> shift;
  keys[thread] = static_cast<uint64_t>(number) << maps.sorted_offsets | (~mask & ((1u << sorted_offsets) - 1));
  rows[thread] = static_cast<uint32_t>(row);
}

// Offsets that a thread gathers, their loads under way together; few, so that their rows of the table stay in the level
// 2 cache while the columns pass.
constexpr int kOffsetsAtOnce = 4;

__global__ void __launch_bounds__(kThreads) gather_columns(const Maps maps, const uint32_t* order) {
  const int64_t thread = thread_index();
  if (thread >= maps.num_rows) return;
  const Map& map = maps.at[maps.of(thread)];
  const int first = static_cast<int>(blockIdx.y) * kOffsetsAtOnce, num_offsets = map.num_offsets;
  if (first >= num_offsets) return;
  const int64_t column = thread - map.first, row = __ldg(order + thread), num_out = map.num_out;
  int neighbours[kOffsetsAtOnce];
#pragma unroll
  for (int i = 0; i < kOffsetsAtOnce; ++i) {
    if (first + i < num_offsets) neighbours[i] = __ldg(map.forwards + (first + i) * num_out + row);
  }
#pragma unroll
  for (int i = 0; i < kOffsetsAtOnce; ++i) {
    if (first + i < num_offsets) map.grouped[(first + i) * num_out + column] = neighbours[i];
  }
  if (first == 0) map.order[column] = static_cast<int>(row);
}

// What is launched, and the parts of scratch memory.
struct Plan {
  Maps maps;
  int num_offsets, num_bits;
  Pairs pairs;
  size_t library_bytes;
  void* library;  // of the sort
};

Plan plan_for(const GroupRequest* requests, int count, Scratch& scratch) {
  Plan plan{};
  for (int i = 0; i < count; ++i) {
    const GroupRequest& request = requests[i];
    if (request.num_out == 0) continue;
    plan.maps.at[plan.maps.count++] = {request.forwards,    request.grouped, request.order,
                                       request.num_offsets, request.num_out, plan.maps.num_rows};
    plan.maps.num_rows += request.num_out;
    plan.num_offsets = std::max(plan.num_offsets, request.num_offsets);
  }
  plan.maps.sorted_offsets = plan.num_bits = std::min(plan.num_offsets, kSortedOffsets);
  while ((1 << (plan.num_bits - plan.maps.sorted_offsets)) < plan.maps.count) ++plan.num_bits;
  plan.pairs = take_pairs(scratch, plan.maps.num_rows);
  plan.library_bytes = radix_sort_scratch(plan.maps.num_rows, plan.num_bits);
  plan.library = scratch.take<char>(static_cast<int64_t>(plan.library_bytes));
  return plan;
}

}  // namespace

int64_t group_rows_scratch(const GroupRequest* requests, int count) {
  Scratch counted;
  plan_for(requests, count, counted);
  return counted.used();
}

cudaError_t group_rows(const GroupRequest* requests, int count, void* memory, cudaStream_t stream) {
  if (count > kMaxMaps) return cudaErrorInvalidValue;
  Scratch scratch(memory);
  const Plan plan = plan_for(requests, count, scratch);
  const Maps& maps = plan.maps;
  if (maps.num_rows == 0) return cudaSuccess;
  const unsigned blocks = blocks_for(maps.num_rows);
  cudaError_t error = launch(key_neighbours, dim3(blocks), kThreads, 0, stream, maps, ranking_for(27),
                             ranking_for(kMaxGroupedOffsets), plan.pairs.keys[0], plan.pairs.values[0]);
  if (error != cudaSuccess) return error;
  SortedPairs sorted{};
  error = radix_sort(plan.pairs, maps.num_rows, plan.num_bits, plan.library, plan.library_bytes, stream, &sorted);
  if (error != cudaSuccess) return error;
  return launch(gather_columns, dim3(blocks, blocks_for(plan.num_offsets, kOffsetsAtOnce)), kThreads, 0, stream, maps,
                sorted.values);
}

}  // namespace sparseops::gpu
