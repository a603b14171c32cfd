// Attention inside patches on a GPU.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace sparseops::gpu {

enum class AttentionType { kHalf, kBfloat16, kFloat };

constexpr int kMaxHeadDim = 64;
constexpr int kMaxBound = 511;     // so that the table has room beside keys and values
constexpr int kMaxTileRows = 128;  // queries of a block, at most

// Pointers are on the device, arrays contiguous; qkv is aligned to 16 bytes.
struct AttentionArguments {
  const void* qkv;        // (num_rows, 3, heads, dim), dim at most kMaxHeadDim
  const int* cu_seqlens;  // (num_patches + 1), ascending from 0 to num_rows
  void* out;              // (num_rows, heads, dim)
  int num_rows;           // num_rows + kMaxTileRows * num_patches is below 2**31
  int num_patches;
  int heads;
  int dim;
  float scale;
  const float*
      table;          // (3, 2 * bound + 1, heads), added to the scores by the clamped distance along each axis; or null
  const int* voxels;  // (num_rows, 3), within +-2**30
  int bound;          // at most kMaxBound
};

// Attention of every patch in one launch that depends on no value of cu_seqlens. Where these do not ascend from 0 to
// num_rows, no memory of others is touched, but rows may stay unwritten. float16 and bfloat16 are multiplied by tensor
// cores (bfloat16 from sm_80 on), with weights rounded to their type and sums in float32; else all is float32.
cudaError_t attend(AttentionType type, const AttentionArguments& arguments, cudaStream_t stream);

// The same without tensor cores, for float32, and for bfloat16 before sm_80.
cudaError_t attend_exactly(AttentionType type, const AttentionArguments& arguments, cudaStream_t stream);

}  // namespace sparseops::gpu
