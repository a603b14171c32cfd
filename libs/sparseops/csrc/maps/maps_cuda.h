// Kernel maps on a GPU. Pointers are on the device; coords is int64 (num_voxels, 4) of batch, x, y, z, a voxel a row,
// none twice, x, y and z below kCoordLimit, batch below kBatchLimit. No function waits for the device.
#pragma once

#include <cuda_runtime.h>
#include <cstdint>

namespace sparseops::gpu {

constexpr int64_t kCoordLimit = int64_t{1} << 18;  // as in reference.py
constexpr int64_t kBatchLimit = 512;

constexpr int kMaxMaps = 16;  // that are made at once

// Bytes of scratch memory, aligned to 256 bytes, that sort_voxels asks for.
int64_t sort_voxels_scratch(int num_voxels);

// The rows by which voxels ascend, equal ones as they come, int64 (num_voxels), and the voxels so, int64
// (num_voxels, 4). Values beyond the limits give a meaningless order.
cudaError_t sort_voxels(const int64_t* coords, int num_voxels, int64_t* order, int64_t* sorted, void* scratch,
                        cudaStream_t stream);

// A submanifold map to make: int32 (kernel_size**3, num_voxels) from entry `first_entry` of a common table on.
struct MapRequest {
  const int64_t* coords;
  int num_voxels;
  int kernel_size;
  int64_t first_entry;
};

// Bytes of scratch memory, aligned to 256 bytes, that submanifold_maps asks for.
int64_t submanifold_maps_scratch(const MapRequest* requests, int count);

// Writes all `num_entries` of forwards, -1 between the maps. There are at most kMaxMaps.
cudaError_t submanifold_maps(const MapRequest* requests, int count, int* forwards, int64_t num_entries, void* scratch,
                             cudaStream_t stream);

// What is known of a strided map before it is there.
struct StridedResult {
  int num_coarse;
  int ascending;  // 0 where the rows do not ascend: then nothing else of the map is right
  int inside;     // 0 where a coordinate lies outside the limits: likewise
};

int64_t strided_map_scratch(int num_voxels);

// Rows must ascend by batch, x, y, z. Writes `told` if it is not null, which may be page-locked memory of the host: it
// can be read as soon as this is done, while strided_map, which follows with the same scratch memory, is under way.
cudaError_t strided_map_size(const int64_t* coords, int num_voxels, StridedResult* told, void* scratch,
                             cudaStream_t stream);

// Writes the first num_coarse rows of coarse, int64 (most, 4), the first 8 * num_coarse of children, int32
// (8, num_coarse), and parents, int32 (8, num_voxels). There is room for `most` coarse voxels.
cudaError_t strided_map(const int64_t* coords, int num_voxels, int most, int64_t* coarse, int* children, int* parents,
                        void* scratch, cudaStream_t stream);

// Bytes of scratch memory, aligned to 256 bytes, that halved_sizes asks for.
int64_t halved_sizes_scratch(int num_voxels, int num_levels);

// How many voxels there are once the resolution was halved 1 to num_levels times; then how many rows do not ascend, and
// how many lie outside the limits: sizes, int32 (num_levels + 2).
cudaError_t halved_sizes(const int64_t* coords, int num_voxels, int num_levels, int* sizes, void* scratch,
                         cudaStream_t stream);

constexpr int kMaxGroupedOffsets = 31;

// A map of 1 to kMaxGroupedOffsets offsets whose output rows are to be grouped.
struct GroupRequest {
  const int* forwards;  // (num_offsets, num_out)
  int* grouped;         // the same, forwards[k, order[c]]
  int* order;           // (num_out), in which rows with like neighbours lie together
  int num_offsets;
  int num_out;
};

// Bytes of scratch memory, aligned to 256 bytes, that group_rows asks for.
int64_t group_rows_scratch(const GroupRequest* requests, int count);

// Groups the rows of each of at most kMaxMaps maps, with at most 2**31 - 1 rows together.
cudaError_t group_rows(const GroupRequest* requests, int count, void* scratch, cudaStream_t stream);

}  // namespace sparseops::gpu
