#include <ATen/Functions.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/accumulate.h>
#include <torch/library.h>

#include <vector>

#include "kernels.h"
#include "operators.h"

namespace pointops {
namespace {

constexpr int64_t kPairs = int64_t{1} << 26;  // candidates held at a time, 512 MB

gpu::Clouds clouds(const Tensor& offset, const Tensor& xyz) { return {longs(offset), offset.size(0), xyz.size(0)}; }

const float4* vectors(const Tensor& tensor) { return reinterpret_cast<const float4*>(floats(tensor)); }

// Points along the curve, whole leaves (…, 4), and the boxes around them.
struct SortedPoints {
  Tensor points, boxes;
  gpu::Levels levels;

  SortedPoints(const Tensor& xyz, const Tensor& offset, cudaStream_t stream) : levels(xyz.size(0)) {
    const int64_t rows = xyz.size(0);
    const gpu::Clouds in_clouds = clouds(offset, xyz);
    const size_t sort_bytes = gpu::curve_scratch(in_clouds);
    const auto words = xyz.options().dtype(at::kInt);
    const Tensor limits = at::empty({gpu::kLimits}, words), order = at::empty({2, rows}, words);
    const Tensor codes = at::empty({2, rows}, xyz.options().dtype(at::kLong));
    const Tensor bytes = at::empty({static_cast<int64_t>(sort_bytes)}, xyz.options().dtype(at::kByte));
    points = at::empty({levels.boxes[0] * gpu::kLeaf, 4}, xyz.options());
    boxes = at::empty({levels.size(), static_cast<int64_t>(sizeof(gpu::Box) / sizeof(float))}, xyz.options());
    auto* code = reinterpret_cast<uint64_t*>(codes.mutable_data_ptr<int64_t>());
    auto* row = reinterpret_cast<uint32_t*>(order.mutable_data_ptr<int32_t>());
    const gpu::CurveScratch scratch{
        reinterpret_cast<uint32_t*>(limits.mutable_data_ptr<int32_t>()),
        {{code, code + rows}, {row, row + rows}, bytes.mutable_data_ptr(), sort_bytes}};
    C10_CUDA_CHECK(gpu::build_tree(floats(xyz), in_clouds, levels, scratch,
                                   reinterpret_cast<float4*>(points.mutable_data_ptr<float>()),
                                   reinterpret_cast<gpu::Box*>(boxes.mutable_data_ptr<float>()), stream));
  }
  gpu::Tree tree() const { return {vectors(points), reinterpret_cast<const gpu::Box*>(floats(boxes)), levels}; }
};

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

Pair ball_query(const Tensor& xyz, const Tensor& offset, const Tensor& queries, const Tensor& query_offset,
                int64_t samples, double min_radius, double max_radius, const std::optional<Tensor>& rank) {
  const c10::cuda::CUDAGuard guard(xyz.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  auto [index, distance2] = empty_neighbours(xyz, queries.size(0), samples);
  const Search search(xyz, offset, queries, query_offset, stream);
  const gpu::Ball ball{static_cast<float>(min_radius), static_cast<float>(max_radius), ints(rank)};
  const gpu::Clouds asked = clouds(query_offset, queries);
  const Tensor counts = at::empty({search.queries.size(0)}, index.options());
  Tensor crowded = at::empty({1}, index.options().dtype(at::kLong));
  C10_CUDA_CHECK(gpu::draw_few(search.tree(), clouds(offset, xyz), vectors(search.queries), asked, ball, floats(xyz),
                               static_cast<int>(samples), counts.mutable_data_ptr<int32_t>(),
                               reinterpret_cast<uint64_t*>(crowded.mutable_data_ptr<int64_t>()),
                               index.mutable_data_ptr<int32_t>(), distance2.mutable_data_ptr<float>(), stream));
  const int64_t candidates = crowded.item<int64_t>();  // waits for the device
  if (candidates == 0) return {index, distance2};
  const Tensor ends = at::cumsum(counts, 0, at::kLong);
  for (const Part& part : parts_of(ends, candidates)) {
    const Tensor pairs = at::empty({part.candidates}, ends.options());
    C10_CUDA_CHECK(gpu::draw_many(search.tree(), clouds(offset, xyz), vectors(search.queries), asked, ball, floats(xyz),
                                  ints(counts), longs(ends), part.first, part.last,
                                  reinterpret_cast<uint64_t*>(pairs.mutable_data_ptr<int64_t>()),
                                  static_cast<int>(samples), index.mutable_data_ptr<int32_t>(),
                                  distance2.mutable_data_ptr<float>(), stream));
  }
  return {index, distance2};
}

Tensor farthest_point_sampling(const Tensor& xyz, const Tensor& offset, const Tensor& sample_offset, int64_t samples) {
  const c10::cuda::CUDAGuard guard(xyz.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  Tensor index = at::zeros({samples}, xyz.options().dtype(at::kInt));
  const SortedPoints sorted(xyz, offset, stream);
  const Tensor distance2 = at::empty({xyz.size(0)}, xyz.options());
  C10_CUDA_CHECK(gpu::farthest_point_sampling(floats(xyz), vectors(sorted.points), clouds(offset, xyz),
                                              {longs(sample_offset), sample_offset.size(0), samples},
                                              distance2.mutable_data_ptr<float>(), index.mutable_data_ptr<int32_t>(),
                                              stream));
  return index;
}

Tensor gather(const Tensor& table, const Tensor& index) {
  const c10::cuda::CUDAGuard guard(table.device());
  Tensor out = at::empty({index.size(0), index.size(1), table.size(1)}, table.options());
  C10_CUDA_CHECK(gpu::gather(floats(table), table.size(0), ints(index), index.numel(), table.size(1),
                             out.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
  return out;
}

gpu::Table table_at(const Tensor& rows, const Tensor& index) { return {floats(rows), rows.size(0), ints(index)}; }

Tensor subtract(const Tensor& a, const Tensor& b, const Tensor& index) {
  const c10::cuda::CUDAGuard guard(a.device());
  Tensor out = at::empty({index.size(0), index.size(1), a.size(1)}, a.options());
  C10_CUDA_CHECK(gpu::subtract(floats(a), table_at(b, index), index.size(0), index.size(1), a.size(1),
                               out.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
  return out;
}

Tensor aggregate(const Tensor& table, const Tensor& position, const Tensor& weight, const Tensor& index) {
  const c10::cuda::CUDAGuard guard(table.device());
  Tensor out = at::empty({index.size(0), table.size(1)}, table.options());
  C10_CUDA_CHECK(gpu::aggregate(table_at(table, index), floats(position), floats(weight), index.size(0), index.size(1),
                                table.size(1), weight.size(2), out.mutable_data_ptr<float>(),
                                c10::cuda::getCurrentCUDAStream()));
  return out;
}

Pair aggregate_backward(const Tensor& table, const Tensor& position, const Tensor& weight, const Tensor& index,
                        const Tensor& grad) {
  const c10::cuda::CUDAGuard guard(table.device());
  Tensor grad_position = at::empty(position.sizes(), position.options());
  Tensor grad_weight = at::empty(weight.sizes(), weight.options());
  C10_CUDA_CHECK(gpu::aggregate_backward(table_at(table, index), floats(position), floats(weight), floats(grad),
                                         index.size(0), index.size(1), table.size(1), weight.size(2),
                                         grad_position.mutable_data_ptr<float>(),
                                         grad_weight.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
  return {grad_position, grad_weight};
}

Tensor edge_sum(const Tensor& table, const Tensor& target, const std::optional<Tensor>& source,
                const std::optional<Tensor>& weight, int64_t rows, int64_t degree, int64_t divisor) {
  const c10::cuda::CUDAGuard guard(table.device());
  const int64_t channels = c10::multiply_integers(table.sizes().slice(1));  // also of a table without rows
  const auto [sorted, order] = at::sort(target, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const Tensor places = order.to(at::kInt);
  const Tensor starts = at::searchsorted(sorted, at::arange(rows + 1, target.options()));
  auto shape = table.sizes().vec();
  shape[0] = rows;
  Tensor out = at::empty(shape, table.options());
  const int64_t width = weight ? weight->size(-1) : 1;
  const gpu::Edges edges{longs(starts), ints(places), ints(source), degree, floats(weight), divisor, width};
  C10_CUDA_CHECK(gpu::edge_sum(floats(table), table.size(0), edges, rows, channels, out.mutable_data_ptr<float>(),
                               c10::cuda::getCurrentCUDAStream()));
  return out;
}

Tensor row_sum(const Tensor& table, const Tensor& source, const Tensor& weight) {
  const c10::cuda::CUDAGuard guard(table.device());
  Tensor out = at::empty({source.size(0), table.size(1)}, table.options());
  const gpu::Edges edges{nullptr, nullptr, ints(source), source.size(1), floats(weight), 1, 1};
  C10_CUDA_CHECK(gpu::edge_sum(floats(table), table.size(0), edges, source.size(0), table.size(1),
                               out.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
  return out;
}

Tensor edge_dot(const Tensor& a, const Tensor& b, const Tensor& index_a, const Tensor& index_b,
                const std::optional<Tensor>& weight) {
  const c10::cuda::CUDAGuard guard(a.device());
  Tensor out = at::empty({index_a.size(0), a.size(1)}, a.options());
  C10_CUDA_CHECK(gpu::edge_dot(table_at(a, index_a), table_at(b, index_b), floats(weight), index_a.size(0), a.size(1),
                               a.size(2), out.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(pointops, CUDA, m) {
  m.impl("knn_query", knn_query);
  m.impl("ball_query", ball_query);
  m.impl("farthest_point_sampling", farthest_point_sampling);
  m.impl("gather", gather);
  m.impl("subtract", subtract);
  m.impl("aggregate", aggregate);
  m.impl("aggregate_backward", aggregate_backward);
  m.impl("edge_sum", edge_sum);
  m.impl("row_sum", row_sum);
  m.impl("edge_dot", edge_dot);
}

}  // namespace pointops
