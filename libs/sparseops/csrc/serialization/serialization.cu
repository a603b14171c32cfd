// Codes along space-filling curves and their sorted orders, on a GPU.
#include <algorithm>

#include "common/launch.cuh"
#include "common/radix_sort.h"
#include "serialization/curves.h"
#include "serialization/serialization_cuda.h"

namespace sparseops::gpu {

using namespace common;

namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t items) {
  return static_cast<unsigned>(std::min<int64_t>((items + kThreads - 1) / kThreads, 1 << 30));
}

__device__ __forceinline__ int64_t first_item() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }
__device__ __forceinline__ int64_t item_step() { return static_cast<int64_t>(gridDim.x) * kThreads; }

struct Curves {
  int numbers[kNumCurves];
  int count;
};

__device__ __forceinline__ uint64_t code_along(int curve, uint32_t x, uint32_t y, uint32_t z, int depth,
                                               int64_t own_depth) {
  const bool exchanged = curve == kZTrans || curve == kHilbertTrans;
  uint32_t a = exchanged ? y : x, b = exchanged ? x : y, c = z;
  if (curve == kHilbert || curve == kHilbertTrans) {
    for (int level = depth - 1; level > 0; --level) {
      hilbert_level(a, b, c, level, level < own_depth ? (1u << level) - 1 : 0u);
    }
    hilbert_ungray(a, b, c);
  }
  return interleave(a, b, c);
}

template <typename Coord>
__global__ void __launch_bounds__(kThreads)
    codes_kernel(const Coord* coord, const int64_t* batch, const int64_t* depths, int64_t n, int depth, Curves curves,
                 int64_t* codes) {
  for (int64_t i = first_item(); i < n; i += item_step()) {
    const auto x = static_cast<uint32_t>(coord[3 * i]);
    const auto y = static_cast<uint32_t>(coord[3 * i + 1]);
    const auto z = static_cast<uint32_t>(coord[3 * i + 2]);
    const int64_t own_depth = depths != nullptr ? depths[i] : depth;
    const uint64_t above = batch != nullptr ? static_cast<uint64_t>(batch[i]) << 3 * depth : 0;
    for (int k = 0; k < curves.count; ++k) {
      codes[k * n + i] = static_cast<int64_t>(code_along(curves.numbers[k], x, y, z, depth, own_depth) | above);
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    voxel_codes_kernel(const int64_t* coords, int64_t n, const Depths depths, Curves curves, int64_t* codes) {
  for (int64_t i = first_item(); i < n; i += item_step()) {
    const int64_t cloud = coords[4 * i];
    const auto x = static_cast<uint32_t>(coords[4 * i + 1]);
    const auto y = static_cast<uint32_t>(coords[4 * i + 2]);
    const auto z = static_cast<uint32_t>(coords[4 * i + 3]);
    const int64_t own_depth = depths.of[min(max(cloud, int64_t{0}), static_cast<int64_t>(depths.count - 1))];
    const uint64_t above = static_cast<uint64_t>(cloud) << 3 * depths.greatest;
    for (int k = 0; k < curves.count; ++k) {
      codes[k * n + i] =
          static_cast<int64_t>(code_along(curves.numbers[k], x, y, z, depths.greatest, own_depth) | above);
    }
  }
}

// Curve blockIdx.y of `others`, of which there may be none.
__global__ void __launch_bounds__(kThreads)
    order_voxels_kernel(const int64_t* coords, int64_t n, CurveOrders own, CurveOrders others, int64_t num_curves,
                        int64_t* rows, int64_t* sorted, int32_t* orders, int32_t* inverses) {
  const int64_t first = blockIdx.y * n;
  for (int64_t i = first_item(); i < n; i += item_step()) {
    const int64_t row = own.orders[i];
    if (blockIdx.y < num_curves) {
      orders[first + i] = static_cast<int32_t>(own.inverses[others.orders[first + i]]);
      inverses[first + i] = static_cast<int32_t>(others.inverses[first + row]);
    }
    if (blockIdx.y > 0) continue;
    rows[i] = row;
    for (int column = 0; column < 4; ++column) sorted[4 * i + column] = coords[4 * row + column];
  }
}

// Rows to be sorted at once, blockIdx.y: keys with the row above `num_bits`, values that count through all of them.
__global__ void __launch_bounds__(kThreads)
    pairs_kernel(const int64_t* codes, int64_t n, int num_bits, uint64_t* keys, uint32_t* values) {
  const uint64_t mask = (uint64_t{1} << num_bits) - 1, row = blockIdx.y;
  for (int64_t i = first_item(); i < n; i += item_step()) {
    const int64_t pair = blockIdx.y * n + i;
    keys[pair] = (static_cast<uint64_t>(codes[pair]) & mask) | row << num_bits;
    values[pair] = static_cast<uint32_t>(pair);
  }
}

__global__ void __launch_bounds__(kThreads)
    ranks_kernel(const uint32_t* sorted, int64_t n, int64_t* orders, int64_t* inverses) {
  const int64_t first_of_row = blockIdx.y * n;
  for (int64_t rank = first_item(); rank < n; rank += item_step()) {
    const int64_t pair = sorted[first_of_row + rank];
    orders[first_of_row + rank] = pair - first_of_row;
    inverses[pair] = rank;
  }
}

constexpr int64_t kMaxGridRows = 65535;

// How many rows a sort takes: all where row and code fit a key and their number an int, else one after the other.
struct SortPlan {
  int64_t rows_at_once;
  int64_t num_pairs;
  int num_bits;
};

SortPlan plan_sort(int64_t num_rows, int64_t n, int num_bits) {
  int row_bits = 0;
  while ((int64_t{1} << row_bits) < num_rows) ++row_bits;
  const bool together = num_rows <= kMaxGridRows && num_bits + row_bits <= 64 && num_rows * n < int64_t{1} << 31;
  return {together ? num_rows : 1, together ? num_rows * n : n, together ? num_bits + row_bits : num_bits};
}

// The parts of scratch memory.
struct Parts {
  Pairs pairs;
  size_t library_bytes;
  void* library;  // of the sort
};

Parts split(Scratch& scratch, const SortPlan& plan) {
  Parts parts{};
  parts.pairs = take_pairs(scratch, plan.num_pairs);
  parts.library_bytes = radix_sort_scratch(static_cast<int>(plan.num_pairs), plan.num_bits);
  parts.library = scratch.take<char>(static_cast<int64_t>(parts.library_bytes));
  return parts;
}

}  // namespace

template <typename Coord>
cudaError_t serialization_codes(const Coord* coord, const int64_t* batch, const int64_t* depths, int64_t n, int depth,
                                const int64_t* host_curves, int64_t num_curves, int64_t* codes, cudaStream_t stream) {
  for (int64_t first = 0; first < num_curves; first += kNumCurves) {
    Curves curves{{}, static_cast<int>(std::min<int64_t>(kNumCurves, num_curves - first))};
    std::copy_n(host_curves + first, curves.count, curves.numbers);
    const cudaError_t error = launch(codes_kernel<Coord>, blocks_for(n), kThreads, 0, stream, coord, batch, depths, n,
                                     depth, curves, codes + first * n);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

template cudaError_t serialization_codes(const int32_t*, const int64_t*, const int64_t*, int64_t, int, const int64_t*,
                                         int64_t, int64_t*, cudaStream_t);
template cudaError_t serialization_codes(const int64_t*, const int64_t*, const int64_t*, int64_t, int, const int64_t*,
                                         int64_t, int64_t*, cudaStream_t);

cudaError_t voxel_codes(const int64_t* coords, int64_t n, const Depths& depths, const int64_t* host_curves,
                        int64_t num_curves, int64_t* codes, cudaStream_t stream) {
  for (int64_t first = 0; first < num_curves; first += kNumCurves) {
    Curves curves{{}, static_cast<int>(std::min<int64_t>(kNumCurves, num_curves - first))};
    std::copy_n(host_curves + first, curves.count, curves.numbers);
    const cudaError_t error =
        launch(voxel_codes_kernel, blocks_for(n), kThreads, 0, stream, coords, n, depths, curves, codes + first * n);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t order_voxels(const int64_t* coords, int64_t n, CurveOrders own, CurveOrders others, int64_t num_curves,
                         int64_t* rows, int64_t* sorted, int32_t* orders, int32_t* inverses, cudaStream_t stream) {
  const dim3 blocks(blocks_for(n), static_cast<unsigned>(std::max<int64_t>(num_curves, 1)));
  return launch(order_voxels_kernel, blocks, kThreads, 0, stream, coords, n, own, others, num_curves, rows, sorted,
                orders, inverses);
}

int64_t sort_codes_scratch(int64_t num_rows, int64_t n, int num_bits) {
  Scratch counted;
  split(counted, plan_sort(num_rows, n, num_bits));
  return counted.used();
}

cudaError_t sort_codes(const int64_t* codes, int64_t num_rows, int64_t n, int num_bits, int64_t* orders,
                       int64_t* inverses, void* memory, cudaStream_t stream) {
  if (num_rows == 0 || n == 0) return cudaSuccess;
  const SortPlan plan = plan_sort(num_rows, n, num_bits);
  Scratch scratch(memory);
  const Parts parts = split(scratch, plan);
  const Pairs& pairs = parts.pairs;
  const dim3 blocks(blocks_for(n), static_cast<unsigned>(plan.rows_at_once));
  for (int64_t row = 0; row < num_rows; row += plan.rows_at_once) {
    cudaError_t error =
        launch(pairs_kernel, blocks, kThreads, 0, stream, codes + row * n, n, num_bits, pairs.keys[0], pairs.values[0]);
    if (error != cudaSuccess) return error;
    SortedPairs sorted{};
    error = radix_sort(pairs, static_cast<int>(plan.num_pairs), plan.num_bits, parts.library, parts.library_bytes,
                       stream, &sorted);
    if (error != cudaSuccess) return error;
    error = launch(ranks_kernel, blocks, kThreads, 0, stream, sorted.values, n, orders + row * n, inverses + row * n);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace sparseops::gpu
