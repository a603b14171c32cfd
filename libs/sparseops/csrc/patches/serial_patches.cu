// The patches of all levels along their curves, on a GPU: a thread a place.
#include "common/launch.cuh"
#include "common/threads.cuh"
#include "patches/patches_cuda.h"

namespace sparseops::gpu {

using namespace common;

namespace {

// A level whose places, and one behind them, are threads from `first` on.
struct Level {
  PatchLevel of;
  int64_t first;
};

struct Levels {
  Level at[kMaxPatchLevels];
  int count;
};

__global__ void __launch_bounds__(kThreads)
    serial_patches_kernel(const Levels levels, const PatchCloud* clouds, int num_clouds) {
  const int64_t thread = thread_index();
  int number = 0;
  while (number + 1 < levels.count && thread >= levels.at[number + 1].first) ++number;
  const PatchLevel& level = levels.at[number].of;
  const int64_t place = thread - levels.at[number].first;
  if (place > level.num_padded) return;
  if (place == level.num_padded) {
    level.cu_seqlens[level.num_patches] = level.num_padded;
    return;
  }
  const PatchCloud* own = clouds + static_cast<int64_t>(number) * (num_clouds + 1);
  int cloud = 0, beyond = num_clouds;  // the last cloud that begins at or before the place
  while (beyond - cloud > 1) {
    const int middle = (cloud + beyond) / 2;
    (own[middle].padded_start <= place ? cloud : beyond) = middle;
  }
  const int64_t index = place - own[cloud].padded_start, start = own[cloud].start;
  const bool filler = index >= own[cloud + 1].start - start;
  if (index % level.patch_size == 0) {
    level.cu_seqlens[own[cloud].first_patch + index / level.patch_size] = static_cast<int32_t>(place);
  }
  const int64_t source = min(start + index - (filler ? level.patch_size : 0), level.num_points - int64_t{1});
  for (int curve = 0; curve < level.num_curves; ++curve) {
    const int32_t row = level.orders[static_cast<int64_t>(curve) * level.num_points + max(source, int64_t{0})];
    level.gather[static_cast<int64_t>(curve) * level.num_padded + place] = row;
    const bool inside = row >= 0 && row < level.num_points;
    if (!filler && inside) {
      level.scatter[static_cast<int64_t>(curve) * level.num_points + row] = static_cast<int32_t>(place);
    }
  }
}

}  // namespace

cudaError_t serial_patches(const PatchLevel* levels, int count, const PatchCloud* clouds, int num_clouds,
                           cudaStream_t stream) {
  if (count > kMaxPatchLevels) return cudaErrorInvalidValue;
  Levels all{};
  int64_t threads = 0;
  for (int i = 0; i < count; ++i) {
    all.at[all.count++] = {levels[i], threads};
    threads += levels[i].num_padded + int64_t{1};
  }
  return launch(serial_patches_kernel, dim3(blocks_for(threads)), kThreads, 0, stream, all, clouds, num_clouds);
}

}  // namespace sparseops::gpu
