// Points along a curve on a GPU, as tensors.
#pragma once

#include <c10/cuda/CUDAException.h>

#include "search/search_cuda.h"
#include "tensors.h"

namespace pointops {

inline gpu::Clouds clouds(const Tensor& offset, const Tensor& xyz) {
  return {longs(offset), offset.size(0), xyz.size(0)};
}

inline const float4* vectors(const Tensor& tensor) { return reinterpret_cast<const float4*>(floats(tensor)); }

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
    const gpu::CurveScratch scratch{reinterpret_cast<uint32_t*>(limits.mutable_data_ptr<int32_t>()),
                                    {{code, code + rows}, {row, row + rows}},
                                    bytes.mutable_data_ptr(),
                                    sort_bytes};
    C10_CUDA_CHECK(gpu::build_tree(floats(xyz), in_clouds, levels, scratch,
                                   reinterpret_cast<float4*>(points.mutable_data_ptr<float>()),
                                   reinterpret_cast<gpu::Box*>(boxes.mutable_data_ptr<float>()), stream));
  }
  gpu::Tree tree() const { return {vectors(points), reinterpret_cast<const gpu::Box*>(floats(boxes)), levels}; }
};

}  // namespace pointops
