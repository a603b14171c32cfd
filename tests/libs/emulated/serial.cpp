// The launch functions of serialization.cu, segments.cu, patches.cu and grid.cu under C names.
#include "grid_cuda.h"
#include "launch.cuh"
#include "serial_cuda.h"

using namespace sparseops;

extern "C" {

cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t) {
  std::memset(at, value, bytes);
  return cudaSuccess;
}

void set_backwards(bool backwards) { emulated::backwards = backwards; }

int emulated_codes(const int32_t* coord, const int64_t* batch, const int64_t* depths, int64_t n, int depth,
                   const int64_t* curves, int64_t num_curves, int64_t* codes) {
  return gpu::serialization_codes(coord, batch, depths, n, depth, curves, num_curves, codes, nullptr);
}

int emulated_sort(const int64_t* codes, int64_t num_rows, int64_t n, int num_bits, int64_t* orders,
                  int64_t* inverses) {
  std::vector<char> scratch(gpu::sort_codes_scratch(num_rows, n, num_bits));
  return gpu::sort_codes(codes, num_rows, n, num_bits, orders, inverses, scratch.data(), nullptr);
}

int emulated_reduce(bool halves, const void* values, const int64_t* offsets, int64_t num_rows, int64_t num_segments,
                    int64_t channels, int reduction, void* out) {
  const auto kind = static_cast<Reduction>(reduction);
  return halves ? gpu::segment_reduce(static_cast<const __half*>(values), offsets, num_rows, num_segments, channels,
                                      kind, static_cast<__half*>(out), nullptr)
                : gpu::segment_reduce(static_cast<const float*>(values), offsets, num_rows, num_segments, channels,
                                      kind, static_cast<float*>(out), nullptr);
}

int emulated_padding(const int64_t* offset, int64_t num_clouds, int64_t patch_size, int64_t num_padded,
                     int64_t num_patches, int64_t* pad, int64_t* unpad, int32_t* cu_seqlens) {
  std::vector<char> scratch(gpu::patch_padding_scratch(num_clouds));
  return gpu::patch_padding(offset, num_clouds, patch_size, num_padded, num_patches, pad, unpad, cu_seqlens,
                            scratch.data(), nullptr);
}

int emulated_grid(const double* coord, int64_t n, const double* grid_size, int64_t hash, int64_t* grid_coord,
                  int64_t* lowest, int64_t* order, int64_t* offsets, int64_t* inverse, int32_t* told) {
  std::vector<char> scratch(gpu::grid_sample_scratch(static_cast<int>(n)) + 256);
  char* aligned = scratch.data() + 256 - reinterpret_cast<uintptr_t>(scratch.data()) % 256;
  return gpu::grid_sample(coord, static_cast<int>(n), {grid_size[0], grid_size[1], grid_size[2]},
                          static_cast<Hash>(hash), {grid_coord, lowest, order, offsets, inverse},
                          reinterpret_cast<gpu::GridResult*>(told), aligned, nullptr);
}
}
