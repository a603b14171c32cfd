// Runs the CPU code of grid sampling on arrays of exactly their size.
#include "grid/grid_cpu.h"

#include <cstdio>
#include <random>

#include "arrays.h"

using namespace sparseops;

namespace {

std::mt19937 generator(1);

void sample(int64_t n, double extent, Hash hash) {
  const double grid_size[] = {0.3, 0.2, 0.5};
  auto coord = array<double>(3 * n);
  for (int64_t i = 0; i < 3 * n; ++i) coord[i] = extent * std::uniform_real_distribution<double>(-1e6, 1e6)(generator);
  auto grid_coord = array<int64_t>(3 * n), lowest = array<int64_t>(3), order = array<int64_t>(n);
  auto offsets = array<int64_t>(n + 1), inverse = array<int64_t>(n);
  const GridOutputs outputs{grid_coord.get(), lowest.get(), order.get(), offsets.get(), inverse.get()};
  const int64_t num_voxels = grid_sample_cpu(coord.get(), n, grid_size, hash, outputs);
  require(num_voxels > 0 && offsets[num_voxels] == n, "the last voxel does not end with the points");
  coord[3 * n - 1] = NAN;
  require(grid_sample_cpu(coord.get(), n, grid_size, hash, outputs) == -1, "a coordinate that is no number was taken");
}

}  // namespace

int main() {
  for (const int64_t n : {1, 500, 70000}) {
    for (const double extent : {1e-9, 1e-4, 1e11}) {
      sample(n, extent, kFnv);
      sample(n, extent, kRavel);
    }
  }
  std::puts("right");
}
