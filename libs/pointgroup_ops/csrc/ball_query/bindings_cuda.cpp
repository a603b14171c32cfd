#include <ATen/Functions.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <limits>
#include <tuple>

#include "ball_query/ball_query_cpu.h"
#include "ball_query/ball_query_cuda.h"
#include "ball_query/grid.h"

namespace pointgroup_ops {
namespace {

using at::Tensor;

// What is wrong with the clouds, looked up on the processor.
std::string describe_clouds(const Tensor& batch_idxs, const Tensor& batch_offsets) {
  const Tensor idxs = batch_idxs.cpu(), offsets = batch_offsets.cpu();
  return check_clouds(
      {nullptr, idxs.const_data_ptr<int32_t>(), offsets.const_data_ptr<int32_t>(), idxs.size(0), offsets.size(0) - 1});
}

std::tuple<Tensor, Tensor> ball_query_cuda(const Tensor& coords, const Tensor& batch_idxs, const Tensor& batch_offsets,
                                           double radius) {
  const c10::cuda::CUDAGuard guard(coords.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  const float reach = static_cast<float>(radius);
  const int64_t num_points = coords.size(0);
  const DevicePoints points{coords.const_data_ptr<float>(), batch_idxs.const_data_ptr<int32_t>(),
                            batch_offsets.const_data_ptr<int32_t>(), num_points, batch_offsets.size(0) - 1};
  const int bits = bits_per_axis(points.num_clouds);
  if (num_points == 0) {
    const std::string problem = describe_clouds(batch_idxs, batch_offsets);
    TORCH_CHECK_VALUE(problem.empty(), problem);
    return {at::empty({0}, batch_idxs.options()), at::empty({0, 2}, batch_idxs.options())};
  }

  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Tensor finite = at::isfinite(coords);
  const Tensor low = at::where(finite, coords, kInfinity).amin(0).contiguous();
  const Tensor high = at::where(finite, coords, -kInfinity).amax(0).contiguous();
  const Tensor wrong = at::zeros({1}, batch_idxs.options());
  const Tensor keys = at::empty({num_points}, batch_idxs.options().dtype(at::kLong));
  C10_CUDA_CHECK(compute_keys(points, low.const_data_ptr<float>(), high.const_data_ptr<float>(), reach, bits,
                              keys.mutable_data_ptr<int64_t>(), wrong.mutable_data_ptr<int32_t>(), stream));

  const auto [sorted_keys, indices] = at::sort(keys, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const Tensor order = indices.to(at::kInt);
  const Tensor sorted_coords = coords.index_select(0, indices);
  const SortedPoints sorted{sorted_keys.const_data_ptr<int64_t>(), order.const_data_ptr<int32_t>(),
                            sorted_coords.const_data_ptr<float>(), num_points};
  const Tensor lengths = at::empty({num_points}, batch_idxs.options());
  C10_CUDA_CHECK(count_neighbours(sorted, reach, bits, lengths.mutable_data_ptr<int32_t>(), stream));

  const Tensor ends = at::cumsum(lengths, 0, at::kLong);
  const Tensor status =
      at::cat({ends.narrow(0, num_points - 1, 1), wrong.to(at::kLong)}).cpu();  // waits for the device
  const int64_t num_pairs = status.const_data_ptr<int64_t>()[0];
  TORCH_CHECK_VALUE(status.const_data_ptr<int64_t>()[1] == 0, describe_clouds(batch_idxs, batch_offsets));
  TORCH_CHECK_VALUE(num_pairs <= std::numeric_limits<int32_t>::max(), "radius ", radius, " gives ", num_pairs,
                    " neighbours in all, more than int32 counts; use a smaller one");

  const Tensor starts = ends.sub(lengths);
  const Tensor idxs = at::empty({num_pairs}, batch_idxs.options());
  C10_CUDA_CHECK(fill_neighbours(points, sorted, reach, bits, starts.const_data_ptr<int64_t>(),
                                 lengths.const_data_ptr<int32_t>(), idxs.mutable_data_ptr<int32_t>(), stream));
  return {idxs, at::stack({starts.to(at::kInt), lengths}, 1)};
}

}  // namespace
}  // namespace pointgroup_ops

TORCH_LIBRARY_IMPL(pointgroup_ops, CUDA, m) { m.impl("ball_query", pointgroup_ops::ball_query_cuda); }
