// Neighbours on a GPU, on device pointers. Each function starts kernels on a stream and returns what a start failed
// with.
//
// Points are sorted along a curve, leaves of kLeaf of them get boxes, kFan boxes get a box, and so on; a warp looks at
// a leaf or at the boxes in a box at once. Offsets are not trusted: whatever they hold, nothing is read or written out
// of bounds.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/radix_sort.h"

namespace pointops::gpu {

constexpr int kLeaf = 32, kFanBits = 5, kFan = 1 << kFanBits;
constexpr int kMaxLevels = 6, kMaxNeighbours = 128;

struct Clouds {
  const int64_t* offset;  // (count)
  int64_t count, rows;
};

struct Box {
  float4 low, high;  // low > high where there is nothing; low.w: the bits of the least index of a finite point within
};

// Boxes of level 0 go around leaves, of level l around kFan boxes of level l - 1; all levels in one array.
struct Levels {
  int count = 0;
  int64_t first[kMaxLevels] = {}, boxes[kMaxLevels] = {};

  Levels() = default;
  explicit Levels(int64_t points) {
    int64_t boxes_here = (points + kLeaf - 1) / kLeaf;
    for (int64_t next = 0;; boxes_here = (boxes_here + kFan - 1) / kFan) {
      first[count] = next;
      boxes[count++] = boxes_here;
      next += boxes_here;
      if (boxes_here <= kFan) return;
    }
  }
  int64_t size() const { return first[count - 1] + boxes[count - 1]; }
  // the positions in a box of a level
  __host__ __device__ static int64_t under(int level) { return int64_t{kLeaf} << kFanBits * level; }
};

// Points and the bits of their index, along the curve, leaves filled up with what is not a number and index -1.
struct Tree {
  const float4* points;
  const Box* boxes;
  Levels levels;
};

constexpr int kLimits =
    12;  // of the bounds of all points and of the middle of a sample, each low x, y, z, high x, y, z

// What building a tree overwrites: bounds (kLimits), codes and rows (points) twice each, and bytes of curve_scratch.
struct CurveScratch {
  uint32_t* bounds;
  common::Pairs pairs;
  void* bytes;
  size_t num_bytes;
};

size_t curve_scratch(Clouds clouds);
// points (whole leaves) and boxes (levels.size()) of a tree
cudaError_t build_tree(const float* xyz, Clouds clouds, Levels levels, CurveScratch scratch, float4* points, Box* boxes,
                       cudaStream_t stream);

// queries: as the points of a tree; results in rows of their index, see search_cpu.h
cudaError_t knn_query(Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds, int k, int32_t* index,
                      float* distance2, cudaStream_t stream);

struct Ball {
  float min_radius, max_radius;
  const int32_t* rank;  // null: none
};

// What draw_few leaves to be done.
struct LeftOver {
  unsigned long long candidates;    // of queries with many, in all
  unsigned long long has_repeated;  // whether there are queries at the place of another
};

// Answers the queries with few candidates. counts (whole leaves of queries): the candidates of each of the others, 0
// for those answered, -1 for those of which the answer is that of the query before.
cudaError_t draw_few(Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds, Ball ball, const float* xyz,
                     int samples, int32_t* counts, LeftOver* left, int32_t* index, float* distance2,
                     cudaStream_t stream);
// Answers the others of the sorted queries first … last - 1, both whole leaves: the pairs of query i end at
// ends[i] - ends[first - 1].
cudaError_t draw_many(Tree tree, Clouds clouds, const float4* queries, Clouds query_clouds, Ball ball, const float* xyz,
                      const int32_t* counts, const int64_t* ends, int64_t first, int64_t last, uint64_t* pairs,
                      int samples, int32_t* index, float* distance2, cudaStream_t stream);

}  // namespace pointops::gpu
