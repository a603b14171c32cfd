// Nearest neighbours and ball queries. Queries go in packets of near ones, which together walk down the boxes that can
// hold a neighbour of any of them, nearest box first.
#include <ATen/Parallel.h>

#include <atomic>

#include "search/box_tree.h"
#include "search/candidates.h"

namespace pointops::cpu {
namespace {

constexpr int64_t kPacketsAtOnce = 32;

struct Packet {
  const Leaf* queries;
  int32_t begin[kLeaf], end[kLeaf];  // positions of the query's cloud in the tree
  float bound2[kLeaf];               // a neighbour is at most so far away; negative: no query
  float low[3], high[3];             // around the queries
  int32_t first, last;               // all their positions

  Packet(const Leaf& leaf, Clouds clouds, Clouds query_clouds, float bound) : queries(&leaf) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    first = std::numeric_limits<int32_t>::max();
    last = 0;
    std::fill_n(low, 3, infinity);
    std::fill_n(high, 3, -infinity);
    for (int i = 0; i < kLeaf; ++i) {
      const float point[3] = {leaf.x[i], leaf.y[i], leaf.z[i]};
      bound2[i] = is_finite(point) ? bound : -1;
      begin[i] = end[i] = 0;
      if (bound2[i] < 0) continue;
      const int64_t cloud = query_clouds.of(leaf.index[i]);
      begin[i] = static_cast<int32_t>(clouds.begin(cloud));
      end[i] = static_cast<int32_t>(clouds.end(cloud));
      first = std::min(first, begin[i]);
      last = std::max(last, end[i]);
      for (int axis = 0; axis < 3; ++axis) {
        low[axis] = std::min(low[axis], point[axis]);
        high[axis] = std::max(high[axis], point[axis]);
      }
    }
  }

  POINTOPS_INLINE float largest_bound2() const {
    float largest = bound2[0];
    for (int i = 1; i < kLeaf; ++i) largest = bound2[i] > largest ? bound2[i] : largest;
    return largest;
  }

  // The queries, as bits, that are within their bound of a box.
  POINTOPS_INLINE uint32_t near(const Boxes& boxes, int slot) const {
    uint32_t bits = 0;
    for (int i = 0; i < kLeaf; ++i) {
      const float x = gap(boxes.low[0][slot] - queries->x[i], queries->x[i] - boxes.high[0][slot]);
      const float y = gap(boxes.low[1][slot] - queries->y[i], queries->y[i] - boxes.high[1][slot]);
      const float z = gap(boxes.low[2][slot] - queries->z[i], queries->z[i] - boxes.high[2][slot]);
      bits |= squared_length(x, y, z) <= bound2[i] ? 1u << i : 0u;
    }
    return bits;
  }
};

struct Node {
  float distance2;
  int32_t level;  // -1: a leaf
  int64_t place;
};

// Calls visit(query, leaf number, bits of its points within the query's bound, their d2).
template <class Visit>
POINTOPS_INLINE void walk(const BoxTree& tree, const Packet& packet, Visit visit) {
  Node stack[kFan * 16];
  int height = 0;
  if (packet.first < packet.last) stack[height++] = {0, static_cast<int32_t>(tree.levels.size()) - 1, 0};
  while (height > 0) {
    const Node node = stack[--height];
    const float bound2 = packet.largest_bound2();
    if (node.distance2 > bound2) continue;
    if (node.level >= 0) {
      alignas(64) float distance[kFan];
      tree.levels[node.level][node.place].distance2(packet.low, packet.high, distance);
      const int64_t width = BoxTree::positions_under(node.level - 1);
      const int bottom = height;
      for (int child = 0; child < kFan; ++child) {
        const int64_t place = node.place * kFan + child;
        if (!(distance[child] <= bound2) || place * width >= packet.last || (place + 1) * width <= packet.first)
          continue;
        int slot = height++;
        for (; slot > bottom && stack[slot - 1].distance2 < distance[child]; --slot) stack[slot] = stack[slot - 1];
        stack[slot] = {distance[child], node.level - 1, place};
      }
      continue;
    }
    const Leaf& leaf = tree.leaves[node.place];
    const int64_t position = node.place * kLeaf;
    for (uint32_t near = packet.near(tree.levels[0][node.place / kFan], node.place % kFan); near; near &= near - 1) {
      const int query = __builtin_ctz(near);
      const float point[3] = {packet.queries->x[query], packet.queries->y[query], packet.queries->z[query]};
      alignas(64) float d2[kLeaf];
      distance2(leaf, point, d2);
      uint32_t bits = 0;
      for (int i = 0; i < kLeaf; ++i) bits |= d2[i] <= packet.bound2[query] ? 1u << i : 0u;
      const int64_t before = packet.begin[query] - position, after = position + kLeaf - packet.end[query];
      if (before > 0) bits = before < kLeaf ? bits & ~0u << before : 0;
      if (after > 0) bits = after < kLeaf ? bits & 0xffffu >> after : 0;
      if (bits) visit(query, leaf, bits, d2);
    }
  }
}

typedef int64_t Eight __attribute__((vector_size(64)));

// The last of before and all but the last of values.
POINTOPS_INLINE Eight shifted(Eight before, Eight values) {
#if defined(__clang__)
  return __builtin_shufflevector(before, values, 7, 8, 9, 10, 11, 12, 13, 14);
#else
  return __builtin_shuffle(before, values, Eight{7, 8, 9, 10, 11, 12, 13, 14});
#endif
}

// The k smallest (bits of d2, index), ascending at the end of the list; as signed numbers, which processors compare.
struct Nearest {
  static constexpr int64_t kFirst = std::numeric_limits<int64_t>::min();
  alignas(64) int64_t pairs[kMaxNeighbours];

  void clear(int k, int length) {
    std::fill_n(pairs, length - k, kFirst);
    std::fill_n(pairs + length - k, k, static_cast<int64_t>(kNoNeighbour));
  }
};

template <int kSteps>
POINTOPS_INLINE void find_nearest(const BoxTree& tree, Packet& packet, Nearest* best) {
  walk(tree, packet, [&](int query, const Leaf& leaf, uint32_t bits, const float* d2) {
    Eight list[kSteps];
    __builtin_memcpy(list, best[query].pairs, sizeof list);
    for (; bits; bits &= bits - 1) {
      const int i = __builtin_ctz(bits);
      const int64_t one = int64_t{float_bits(d2[i])} << 32 | static_cast<uint32_t>(leaf.index[i]);
      const Eight pair = one - Eight{};
      for (int step = kSteps - 1; step >= 0; --step) {
        const Eight before = shifted(step > 0 ? list[step - 1] : Nearest::kFirst - Eight{}, list[step]);
        const Eight later = pair > before ? pair : before;
        list[step] = later < list[step] ? later : list[step];
      }
    }
    __builtin_memcpy(best[query].pairs, list, sizeof list);
    packet.bound2[query] = bits_float(high(list[kSteps - 1][7]));
  });
}

#define POINTOPS_NEAREST(STEPS)                                                                  \
  POINTOPS_DISPATCHED void nearest_##STEPS(const BoxTree& tree, Packet& packet, Nearest* best) { \
    find_nearest<STEPS>(tree, packet, best);                                                     \
  }
POINTOPS_NEAREST(1)
POINTOPS_NEAREST(2)
POINTOPS_NEAREST(4)
POINTOPS_NEAREST(8)
POINTOPS_NEAREST(16)
#undef POINTOPS_NEAREST

struct Method {
  int length;
  void (*nearest)(const BoxTree&, Packet&, Nearest*);
};

Method method_for(int k) {
  for (const Method& method : {Method{8, nearest_1}, {16, nearest_2}, {32, nearest_4}, {64, nearest_8}})
    if (k <= method.length) return method;
  return {kMaxNeighbours, nearest_16};
}

// Packs (index, bits of d2) of all candidates.
POINTOPS_DISPATCHED
void candidates(const BoxTree& tree, const Packet& packet, Shell shell, std::vector<uint64_t>* found) {
  walk(tree, packet, [&](int query, const Leaf& leaf, uint32_t bits, const float* d2) {
    for (; bits; bits &= bits - 1) {
      const int i = __builtin_ctz(bits);
      if (shell.holds(d2[i])) found[query].push_back(static_cast<uint64_t>(leaf.index[i]) << 32 | float_bits(d2[i]));
    }
  });
}

// Calls answer(the packet's leaf of queries, scratch) for all packets.
template <class MakeScratch, class Answer>
void for_packets(const BoxTree& tree, const float* xyz, const float* queries, Clouds query_clouds,
                 MakeScratch make_scratch, Answer answer) {
  const int64_t count = query_clouds.end(query_clouds.count - 1);
  const bool self = xyz == queries && static_cast<int64_t>(tree.leaves.size()) == (count + kLeaf - 1) / kLeaf;
  std::vector<Leaf> ordered;
  if (!self) ordered = leaves_along_curve(queries, query_clouds);
  const std::vector<Leaf>& packets = self ? tree.leaves : ordered;
  // threads take packets as they get through with others: some clouds are denser in one half
  const int64_t num_packets = static_cast<int64_t>(packets.size());
  const int64_t workers = std::min<int64_t>(at::get_num_threads(), num_packets / kPacketsAtOnce + 1);
  std::atomic<int64_t> next{0};
  at::parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    auto scratch = make_scratch();
    for (int64_t first = next.fetch_add(kPacketsAtOnce); first < num_packets; first = next.fetch_add(kPacketsAtOnce))
      for (int64_t i = first; i < std::min(first + kPacketsAtOnce, num_packets); ++i) answer(packets[i], scratch);
  });
}

void draw(std::vector<uint64_t>& found, int samples, const int32_t* rank, int32_t* index, float* distance2) {
  const int64_t count = static_cast<int64_t>(found.size());
  if (rank != nullptr) {
    std::sort(found.begin(), found.end(), [&](uint64_t a, uint64_t b) { return rank[high(a)] < rank[high(b)]; });
  } else {
    std::sort(found.begin(), found.end());
    drained_heap({found.data(), 1}, count);
  }
  for (int i = 0; i < samples; ++i) {
    const int64_t chosen = rank == nullptr && count > samples ? even_choice(i, samples, count) : i;
    index[i] = chosen < count ? static_cast<int32_t>(high(found[chosen])) : -1;
    distance2[i] = chosen < count ? bits_float(low(found[chosen])) : kMissingDistance2;
  }
}

}  // namespace

void knn_query(const float* xyz, Clouds clouds, const float* queries, Clouds query_clouds, int k, int32_t* index,
               float* distance2) {
  const BoxTree tree(xyz, clouds);
  const Method method = method_for(k);
  for_packets(
      tree, xyz, queries, query_clouds, [] { return std::vector<Nearest>(kLeaf); },
      [&](const Leaf& leaf, std::vector<Nearest>& best) {
        for (Nearest& one : best) one.clear(k, method.length);
        Packet packet(leaf, clouds, query_clouds, std::numeric_limits<float>::max());
        method.nearest(tree, packet, best.data());
        for (int query = 0; query < kLeaf && leaf.index[query] >= 0; ++query) {
          for (int i = 0; i < k; ++i) {
            const int64_t pair = best[query].pairs[method.length - k + i];
            const int64_t place = static_cast<int64_t>(leaf.index[query]) * k + i;
            index[place] = static_cast<int32_t>(low(pair));
            distance2[place] = index[place] < 0 ? kMissingDistance2 : bits_float(high(pair));
          }
        }
      });
}

void ball_query(const float* xyz, Clouds clouds, const float* queries, Clouds query_clouds, int samples,
                float min_radius, float max_radius, const int32_t* rank, int32_t* index, float* distance2) {
  const BoxTree tree(xyz, clouds);
  const Shell shell(min_radius, max_radius);
  for_packets(
      tree, xyz, queries, query_clouds, [&] { return std::vector<std::vector<uint64_t>>(kLeaf); },
      [&](const Leaf& leaf, std::vector<std::vector<uint64_t>>& found) {
        for (auto& one : found) one.clear();
        candidates(tree, Packet(leaf, clouds, query_clouds, shell.reach2()), shell, found.data());
        for (int query = 0; query < kLeaf && leaf.index[query] >= 0; ++query) {
          const int64_t place = static_cast<int64_t>(leaf.index[query]) * samples;
          draw(found[query], samples, rank, index + place, distance2 + place);
        }
      });
}

}  // namespace pointops::cpu
