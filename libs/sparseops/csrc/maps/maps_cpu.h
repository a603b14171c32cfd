// Kernel maps on the CPU, on raw pointers; threads are torch's.
#pragma once

#include <cstdint>
#include <vector>

namespace sparseops {

constexpr int64_t COORD_LIMIT = int64_t{1} << 18;  // of x, y and z
constexpr int64_t BATCH_LIMIT = 512;

// Voxels as keys that ascend with (batch, x, y, z); a shift of up to margin along an axis adds a constant to the key
// and meets no voxel of another row.
struct Keys {
  std::vector<uint64_t> sorted;
  std::vector<int32_t> order;  // sorted[i] is the key of voxel order[i]
  uint64_t step_x, step_y;     // of the key, for one voxel along x and along y; along z it is 1
};

// Whether all of coords (num, 4) lie within the limits.
bool within_limits(const int64_t* coords, int64_t num);

// The sorted keys of coords (num, 4), halved first by shift bits; equal keys keep the order of their voxels.
Keys sort_keys(const int64_t* coords, int64_t num, int64_t margin, int shift);

bool has_duplicates(const Keys& keys);

// rows (kernel_size^3, num): the table of a submanifold convolution, see KernelMap.
void submanifold_table(const Keys& keys, int64_t kernel_size, int32_t* rows);

// Fills parent (num) with the row of each voxel's coarser voxel, coarse (at most num, 4) with these; gives their
// number.
int64_t coarser_voxels(const int64_t* coords, int64_t num, int32_t* parent, int64_t* coarse);

// children (8, num_coarse) and parents (8, num): the tables of a convolution of kernel 2, stride 2. False where a voxel
// is there more than once.
bool strided_tables(const int64_t* coords, int64_t num, const int32_t* parent, int64_t num_coarse, int32_t* children,
                    int32_t* parents);

}  // namespace sparseops
