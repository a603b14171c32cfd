// A warp takes neighbouring queries down the boxes that can hold a neighbour of any of them, nearest box first, of
// those equally near the one with the nearest middle, then the first along the curve. In a leaf, kParts lanes share a
// query and the points.
#pragma once

#include "search/device.cuh"

namespace pointops::gpu {

constexpr int kStack = kFan * kMaxLevels;

struct Node {
  float distance2;
  int32_t level;  // 0: a leaf; its boxes are those of level - 1
  int32_t place;
  int32_t base;  // of the stack below its siblings; the nearest lie on top
};

// What a warp needs of shared memory.
struct Walk {
  float4 points[kLeaf];
  Node stack[kStack];
};

// One lane's query.
struct Query {
  float4 point;
  int32_t index;
  int32_t begin = 0, end = 0;  // the positions of its cloud in the tree
  bool active;

  __device__ Query(const float4& packed, const Clouds& clouds, const Clouds& query_clouds) : point(packed) {
    index = static_cast<int32_t>(float_bits(packed.w));
    if (index >= 0) {
      const Range range = rows_of(clouds, cloud_of(query_clouds, index));
      begin = static_cast<int32_t>(range.begin);
      end = static_cast<int32_t>(range.end);
    }
    active = begin < end && is_finite(packed);
  }

  __device__ float distance2(const float4& other) const {
    return squared_length(point.x - other.x, point.y - other.y, point.z - other.z);
  }
  // The points of a leaf that are in the query's cloud, as bits.
  __device__ uint32_t own_points(int32_t position) const {
    const int32_t first = begin > position ? begin - position : 0, last = end - position;
    if (first >= kLeaf || last <= first) return 0;
    return (last < kLeaf ? (1u << last) - 1 : ~0u) & (~0u << first);
  }
};

// Points of a leaf; this lane looks at those from its part on, kParts apart.
template <int kParts>
struct LeafPart {
  const float4* points;
  uint32_t own;  // those of its cloud

  // Bits of the points whose squared distance to the query is near.
  template <typename Near>
  __device__ uint32_t marks(const Query& query, Near near) const {
    uint32_t found = 0;
#pragma unroll
    for (int i = 0; i < kLeaf; i += kParts) found |= static_cast<uint32_t>(near(query.distance2(points[i]))) << i;
    return found & own;
  }
};

// Four times the squared distance between the middles of two boxes.
__device__ __forceinline__ float middle_distance2(const Box& a, const Box& b) {
  return squared_length((a.low.x + a.high.x) - (b.low.x + b.high.x), (a.low.y + a.high.y) - (b.low.y + b.high.y),
                        (a.low.z + a.high.z) - (b.low.z + b.high.z));
}

// Calls visit(leaf) for the leaves with points that can be within the bound of a lane's query; all lanes of a warp
// together. bound() gives (bits of a squared distance, index), in that order the last that is wanted; it only shrinks,
// and in a visit. By the index, boxes of many points at one place are passed over once the first of these are found.
template <int kParts, typename Bound, typename Visit>
__device__ __forceinline__ void walk(const Tree& tree, const Query& query, Walk& shared, Bound bound, Visit visit) {
  const int lane = threadIdx.x % kWarp, part = lane % kParts;
  const float4& own = query.point;
  const Box around = warp_union(query.active ? Box{own, own} : empty_box());
  // the positions of all their clouds
  const int32_t first = warp_min(query.active ? query.begin : INT32_MAX);
  const int32_t last = -warp_min(query.active ? -query.end : 0);
  if (first >= last) return;

  uint64_t limit;  // of the lane
  float reach;     // the largest squared distance
  const auto shrink = [&] {
    limit = bound();
    reach = bits_float(warp_max(query.active ? high(limit) : 0));
  };
  shrink();
  if (lane == 0) shared.stack[0] = {0.0f, tree.levels.count, 0, 0};
  __syncwarp();
  for (int height = 1; height > 0;) {
    const Node node = shared.stack[--height];
    __syncwarp();
    if (node.distance2 > reach) {
      height = node.base;
      continue;
    }
    const int64_t child = int64_t{node.place} * kFan + lane;
    float4 point = own;
    if (node.level == 0) point = tree.points[child];  // under way with the box
    bool wants = query.active;
    if (node.level < tree.levels.count) {
      const Box box = tree.boxes[tree.levels.first[node.level] + node.place];
      wants &= (uint64_t{float_bits(box_distance2(own, own, box))} << 32 | float_bits(box.low.w)) <= limit;
      if (!__any_sync(kAllLanes, wants)) continue;
    }
    if (node.level > 0) {
      const int level = node.level - 1;
      const int64_t under = Levels::under(level);
      bool wanted = child < tree.levels.boxes[level] && child * under < last && (child + 1) * under > first;
      float distance2 = 0;
      uint64_t order = 0;
      if (wanted) {
        const Box box = tree.boxes[tree.levels.first[level] + child];
        distance2 = box_distance2(around.low, around.high, box);
        order = uint64_t{float_bits(distance2)} << 32 | float_bits(middle_distance2(around, box));
        wanted = distance2 <= reach;
      }
      const unsigned all = __ballot_sync(kAllLanes, wanted);
      int slot = 0;  // the farthest first, so that the nearest is taken first
      for (unsigned rest = all; rest != 0; rest &= rest - 1) {
        const int other_lane = __ffs(rest) - 1;
        const uint64_t other = __shfl_sync(kAllLanes, static_cast<unsigned long long>(order), other_lane);
        slot += other > order || (other == order && other_lane > lane);
      }
      if (wanted) shared.stack[height + slot] = {distance2, level, static_cast<int32_t>(child), height};
      height += __popc(all);
      __syncwarp();
      continue;
    }
    const uint32_t bits = wants ? query.own_points(static_cast<int32_t>(child - lane)) : 0;
    if (!__any_sync(kAllLanes, bits != 0)) continue;
    shared.points[lane] = point;
    __syncwarp();
    visit(LeafPart<kParts>{shared.points + part, bits >> part});
    __syncwarp();
    shrink();
  }
}

}  // namespace pointops::gpu
