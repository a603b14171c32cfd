// CUDA implementations of queries for neighbours; bindings.cpp has their schemas.
#include <ATen/Functions.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <vector>

#include "search/sorted_points.h"

namespace pointops {
namespace {

#ifndef CANDIDATES_AT_ONCE
#define CANDIDATES_AT_ONCE (1 << 26)  // 512 MB
#endif
constexpr int64_t kPairs = CANDIDATES_AT_ONCE;

// The tree of the points, and the queries along a curve of their own.
struct Search {
  SortedPoints sorted;
  Tensor queries;

  Search(const Tensor& xyz, const Tensor& offset, const Tensor& asked, const Tensor& asked_offset, cudaStream_t stream)
      : sorted(xyz, offset, stream) {
    const bool self = asked.is_same(xyz) && asked_offset.is_same(offset);
    queries = self ? sorted.points : SortedPoints(asked, asked_offset, stream).points;
  }
  gpu::Tree tree() const { return sorted.tree(); }
};

Pair knn_query(const Tensor& xyz, const Tensor& offset, const Tensor& queries, const Tensor& query_offset, int64_t k) {
  const c10::cuda::CUDAGuard guard(xyz.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  auto [index, distance2] = empty_neighbours(xyz, queries.size(0), k);
  const Search search(xyz, offset, queries, query_offset, stream);
  C10_CUDA_CHECK(gpu::knn_query(search.tree(), clouds(offset, xyz), vectors(search.queries),
                                clouds(query_offset, queries), static_cast<int>(k), index.mutable_data_ptr<int32_t>(),
                                distance2.mutable_data_ptr<float>(), stream));
  return {index, distance2};
}

// Sorted queries first … last - 1 and how many candidates they have.
struct Part {
  int64_t first, last, candidates;
};

// Parts of whole leaves with at most kPairs of the candidates each, or of one leaf; ends (queries): cumulative counts.
std::vector<Part> parts_of(const Tensor& ends, int64_t total) {
  const int64_t queries = ends.size(0);
  if (total <= kPairs) return {{0, queries, total}};
  const Tensor on_host = ends.cpu();
  const int64_t* end = longs(on_host);
  std::vector<Part> parts{{0, 0, 0}};
  for (int64_t leaf = 0; leaf < queries; leaf += gpu::kLeaf) {
    const int64_t candidates = end[leaf + gpu::kLeaf - 1] - (leaf > 0 ? end[leaf - 1] : 0);
    if (parts.back().candidates + candidates > kPairs && parts.back().last > parts.back().first)
      parts.push_back({leaf, leaf, 0});
    parts.back().last += gpu::kLeaf;
    parts.back().candidates += candidates;
  }
  return parts;
}

// Writes answers (queries, …) of sorted queries with counts below 0: those of the last before them that has its own.
void repeat_answers(const Tensor& counts, const Tensor& queries, const Tensor& index, const Tensor& distance2) {
  const Tensor is_repeated = counts.lt(0), rows = queries.select(1, 3).view(at::kInt);
  const Tensor places = at::arange(counts.size(0), counts.options().dtype(at::kLong));
  const Tensor answered = std::get<0>(at::cummax(places.masked_fill(is_repeated, 0), 0));
  const Tensor to = rows.masked_select(is_repeated).to(at::kLong);
  const Tensor from = rows.index_select(0, answered.masked_select(is_repeated));
  index.index_copy_(0, to, index.index_select(0, from));
  distance2.index_copy_(0, to, distance2.index_select(0, from));
}

Pair ball_query(const Tensor& xyz, const Tensor& offset, const Tensor& queries, const Tensor& query_offset,
                int64_t samples, double min_radius, double max_radius, const std::optional<Tensor>& rank) {
  const c10::cuda::CUDAGuard guard(xyz.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  auto [index, distance2] = empty_neighbours(xyz, queries.size(0), samples);
  const Search search(xyz, offset, queries, query_offset, stream);
  const gpu::Ball ball{static_cast<float>(min_radius), static_cast<float>(max_radius), ints(rank)};
  const gpu::Clouds asked = clouds(query_offset, queries);
  const Tensor counts = at::empty({search.queries.size(0)}, index.options());
  const Tensor left = at::empty({2}, index.options().dtype(at::kLong));
  C10_CUDA_CHECK(gpu::draw_few(search.tree(), clouds(offset, xyz), vectors(search.queries), asked, ball, floats(xyz),
                               static_cast<int>(samples), counts.mutable_data_ptr<int32_t>(),
                               reinterpret_cast<gpu::LeftOver*>(left.mutable_data_ptr<int64_t>()),
                               index.mutable_data_ptr<int32_t>(), distance2.mutable_data_ptr<float>(), stream));
  const Tensor told = left.cpu();  // waits for the device
  const int64_t candidates = longs(told)[0];
  const bool has_repeated = longs(told)[1] != 0;
  if (candidates == 0 && !has_repeated) return {index, distance2};
  const Tensor ends = at::cumsum(counts.clamp_min(0), 0, at::kLong);
  for (const Part& part : parts_of(ends, candidates)) {
    const Tensor pairs = at::empty({part.candidates}, ends.options());
    C10_CUDA_CHECK(gpu::draw_many(
        search.tree(), clouds(offset, xyz), vectors(search.queries), asked, ball, floats(xyz), ints(counts),
        longs(ends), part.first, part.last, reinterpret_cast<uint64_t*>(pairs.mutable_data_ptr<int64_t>()),
        static_cast<int>(samples), index.mutable_data_ptr<int32_t>(), distance2.mutable_data_ptr<float>(), stream));
  }
  if (has_repeated) repeat_answers(counts, search.queries, index, distance2);
  return {index, distance2};
}

}  // namespace

TORCH_LIBRARY_IMPL(pointops, CUDA, m) {
  m.impl("knn_query", knn_query);
  m.impl("ball_query", ball_query);
}

}  // namespace pointops
