// Nearest neighbours and ball queries. Queries go in packets of near ones, which together walk down the boxes that can
// hold a neighbour of any of them, nearest box first, of those equally near the first along the curve: points at one
// place ascend along it, so that of many the few that come first are soon found and the rest are passed over.
#include <ATen/Parallel.h>

#include <atomic>

#include "search/candidates.h"
#include "search/packet.h"

namespace pointops::cpu {
namespace {

constexpr int64_t kPacketsAtOnce = 32;

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
  const int32_t top = static_cast<int32_t>(tree.levels.size()) - 1;
  if (packet.first < packet.last) stack[height++] = {0, top, 0};
  while (height > 0) {
    const Node node = stack[--height];
    const float bound2 = packet.largest_bound2();
    if (node.distance2 > bound2) continue;
    uint32_t near = ~0u;
    if (node.level < top) near = packet.near(tree.levels[node.level + 1][node.place / kFan], node.place % kFan);
    if (near == 0) continue;
    if (node.level >= 0) {
      alignas(64) float distance[kFan];
      tree.levels[node.level][node.place].distance2(packet.low, packet.high, distance);
      const int64_t width = BoxTree::positions_under(node.level - 1);
      const int bottom = height;
      for (int child = 0; child < kFan; ++child) {
        const int64_t place = node.place * kFan + child;
        if (!(distance[child] <= bound2) || packet.skips(place, width)) continue;
        int slot = height++;
        for (; slot > bottom && stack[slot - 1].distance2 <= distance[child]; --slot) stack[slot] = stack[slot - 1];
        stack[slot] = {distance[child], node.level - 1, place};
      }
      continue;
    }
    const Leaf& leaf = tree.leaves[node.place];
    const int64_t position = node.place * kLeaf;
    for (; near; near &= near - 1) {
      const int query = __builtin_ctz(near);
      const float point[3] = {packet.queries->x[query], packet.queries->y[query], packet.queries->z[query]};
      alignas(64) float d2[kLeaf];
      const float bound2 = packet.bound2[query];
      uint32_t bits = bits_where([&](int i) {
        d2[i] = squared_length(point[0] - leaf.x[i], point[1] - leaf.y[i], point[2] - leaf.z[i]);
        return d2[i] <= bound2;
      });
      const int64_t before = packet.begin[query] - position, after = position + kLeaf - packet.end[query];
      if (before > 0) bits = before < kLeaf ? bits & ~0u << before : 0;
      if (after > 0) bits = after < kLeaf ? bits & 0xffffu >> after : 0;
      if (bits) visit(query, leaf, bits, d2);
    }
  }
}

// The leaf that a packet finds by going down to where its middle is nearest, one level after the other.
int64_t leaf_near(const BoxTree& tree, const Packet& packet) {
  float middle[3];
  for (int axis = 0; axis < 3; ++axis) middle[axis] = packet.low[axis] + (packet.high[axis] - packet.low[axis]) / 2;
  int64_t place = 0;
  for (int level = static_cast<int>(tree.levels.size()) - 1; level >= 0; --level) {
    float distance[kFan];
    tree.levels[level][place].distance2(middle, middle, distance);
    const int64_t width = BoxTree::positions_under(level - 1);
    int nearest = -1;
    for (int child = 0; child < kFan; ++child) {
      const bool is_nearer = nearest < 0 || distance[child] < distance[nearest];
      if (is_nearer && !packet.skips(place * kFan + child, width)) nearest = child;
    }
    place = place * kFan + std::max(nearest, 0);
  }
  return std::min(place, static_cast<int64_t>(tree.leaves.size()) - 1);
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

  // k places for neighbours within bound2, which come before those that hold the places
  void clear(int k, int length, float bound2) {
    std::fill_n(pairs, length - k, kFirst);
    std::fill_n(pairs + length - k, k, int64_t{float_bits(bound2)} << 32 | low(kNoNeighbour));
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
    packet.last_index[query] = static_cast<int32_t>(list[kSteps - 1][7] & 0x7fffffff);  // that of none is the largest
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

POINTOPS_DISPATCHED
void unpack(const int64_t* pairs, int k, int32_t* __restrict index, float* __restrict distance2) {
  for (int i = 0; i < k; ++i) {
    index[i] = static_cast<int32_t>(pairs[i]);
    const float d2 = bits_float(high(pairs[i]));
    distance2[i] = index[i] < 0 ? kMissingDistance2 : d2;
  }
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

// Calls answer(leaves of queries, the number of one, whether they are those of the tree, scratch) for all leaves.
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
      for (int64_t i = first; i < std::min(first + kPacketsAtOnce, num_packets); ++i) answer(packets, i, self, scratch);
  });
}

// Whether the queries at two positions of the leaves are at one place of one cloud, so that they have one answer.
bool alike(const std::vector<Leaf>& leaves, int64_t position, int64_t other_position, Clouds clouds) {
  const Leaf &leaf = leaves[position / kLeaf], &other_leaf = leaves[other_position / kLeaf];
  const int64_t i = position % kLeaf, other = other_position % kLeaf;
  return leaf.x[i] == other_leaf.x[other] && leaf.y[i] == other_leaf.y[other] && leaf.z[i] == other_leaf.z[other] &&
         clouds.of(leaf.index[i]) == clouds.of(other_leaf.index[other]);
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
      [&](const std::vector<Leaf>& packets, int64_t number, bool self, std::vector<Nearest>& best) {
        const Leaf& leaf = packets[number];
        Packet packet(leaf, clouds, query_clouds, std::numeric_limits<float>::max());
        if (packet.first < packet.last) packet.draw_in(tree, self ? number : leaf_near(tree, packet), k);
        for (int query = 0; query < kLeaf; ++query) best[query].clear(k, method.length, packet.bound2[query]);
        method.nearest(tree, packet, best.data());
        for (int query = 0; query < kLeaf && leaf.index[query] >= 0; ++query) {
          const int64_t place = static_cast<int64_t>(leaf.index[query]) * k;
          unpack(best[query].pairs + method.length - k, k, index + place, distance2 + place);
        }
      });
}

void ball_query(const float* xyz, Clouds clouds, const float* queries, Clouds query_clouds, int samples,
                float min_radius, float max_radius, const int32_t* rank, int32_t* index, float* distance2) {
  const BoxTree tree(xyz, clouds);
  const Shell shell(min_radius, max_radius);
  for_packets(
      tree, xyz, queries, query_clouds, [&] { return std::vector<std::vector<uint64_t>>(kLeaf); },
      [&](const std::vector<Leaf>& packets, int64_t number, bool, std::vector<std::vector<uint64_t>>& found) {
        const Leaf& leaf = packets[number];
        const int64_t first = number * kLeaf, end = static_cast<int64_t>(packets.size()) * kLeaf;
        Packet packet(leaf, clouds, query_clouds, shell.reach2());
        bool is_repeated[kLeaf];
        for (int query = 0; query < kLeaf; ++query) {
          is_repeated[query] = first + query > 0 && alike(packets, first + query - 1, first + query, query_clouds);
          if (is_repeated[query]) packet.bound2[query] = -1;
          found[query].clear();
        }
        candidates(tree, packet, shell, found.data());
        for (int query = 0; query < kLeaf && leaf.index[query] >= 0; ++query) {
          if (is_repeated[query]) continue;
          const int64_t place = static_cast<int64_t>(leaf.index[query]) * samples;
          draw(found[query], samples, rank, index + place, distance2 + place);
          for (int64_t next = first + query + 1; next < end && alike(packets, next - 1, next, query_clouds); ++next) {
            const int64_t repeated = static_cast<int64_t>(packets[next / kLeaf].index[next % kLeaf]) * samples;
            std::copy_n(index + place, samples, index + repeated);
            std::copy_n(distance2 + place, samples, distance2 + repeated);
          }
        }
      });
}

}  // namespace pointops::cpu
