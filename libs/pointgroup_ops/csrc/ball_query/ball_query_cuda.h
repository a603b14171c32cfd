// The ball query on a GPU. Pointers are on the device; each function starts one kernel and returns what that failed
// with.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pointgroup_ops {

struct DevicePoints {
  const float* coords;           // (num_points, 3)
  const int32_t* batch_idxs;     // (num_points,)
  const int32_t* batch_offsets;  // (num_clouds + 1,)
  int64_t num_points;
  int64_t num_clouds;
};

// Points by ascending key of their cell.
struct SortedPoints {
  const int64_t* keys;   // (num_points,)
  const int32_t* order;  // (num_points,) index of each
  const float* coords;   // (num_points, 3)
  int64_t num_points;
};

// Keys of the cells (num_points,) in a grid of ``bits`` an axis over the finite points, which lie within low (3,) and
// high (3,). Sets ``wrong`` where batch_idxs and batch_offsets do not fit together; nothing is read out of bounds by
// them.
cudaError_t compute_keys(const DevicePoints& points, const float* low, const float* high, float radius, int bits,
                         int64_t* keys, int32_t* wrong, cudaStream_t stream);

// How many neighbours each point keeps, lengths (num_points,). Reads nothing of the clouds but the keys.
cudaError_t count_neighbours(const SortedPoints& sorted, float radius, int bits, int32_t* lengths, cudaStream_t stream);

// Writes the neighbours of each point to idxs, from starts (num_points,) on, ascending. The clouds have been checked.
cudaError_t fill_neighbours(const DevicePoints& points, const SortedPoints& sorted, float radius, int bits,
                            const int64_t* starts, const int32_t* lengths, int32_t* idxs, cudaStream_t stream);

}  // namespace pointgroup_ops
