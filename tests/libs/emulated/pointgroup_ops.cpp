// The launch functions of ball_query.cu under C names.
#include "launch.cuh"

inline int64_t __shfl_sync(unsigned, int64_t value, int from) {
  int64_t offer = value;
  emulated::meet_warp(offer, [from](int64_t** offers) {
    const int64_t given = *offers[from];
    for (int lane = 0; lane < 32; ++lane) *offers[lane] = given;
  });
  return offer;
}

namespace pointgroup_ops {

template <typename Kernel, typename... Arguments>
cudaError_t launch(Kernel kernel, unsigned blocks, int threads, cudaStream_t stream, Arguments... arguments) {
  return sparseops::gpu::launch(kernel, dim3(blocks), threads, 0, stream, arguments...);
}

}  // namespace pointgroup_ops

#include "ball_query.cu"

using namespace pointgroup_ops;

extern "C" {

int emulated_keys(const float* coords, const int32_t* batch_idxs, const int32_t* batch_offsets, int64_t num_points,
                  int64_t num_clouds, const float* low, const float* high, float radius, int64_t* keys, int32_t* wrong) {
  const DevicePoints points{coords, batch_idxs, batch_offsets, num_points, num_clouds};
  return compute_keys(points, low, high, radius, bits_per_axis(num_clouds), keys, wrong, nullptr);
}

int emulated_count(const int64_t* keys, const int32_t* order, const float* sorted_coords, int64_t num_points,
                   int64_t num_clouds, float radius, int32_t* lengths) {
  const SortedPoints sorted{keys, order, sorted_coords, num_points};
  return count_neighbours(sorted, radius, bits_per_axis(num_clouds), lengths, nullptr);
}

int emulated_fill(const float* coords, const int32_t* batch_idxs, const int32_t* batch_offsets, int64_t num_points,
                  int64_t num_clouds, const int64_t* keys, const int32_t* order, const float* sorted_coords,
                  float radius, const int64_t* starts, const int32_t* lengths, int32_t* idxs) {
  const DevicePoints points{coords, batch_idxs, batch_offsets, num_points, num_clouds};
  const SortedPoints sorted{keys, order, sorted_coords, num_points};
  return fill_neighbours(points, sorted, radius, bits_per_axis(num_clouds), starts, lengths, idxs, nullptr);
}

}
