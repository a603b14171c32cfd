// Sparse convolution on a GPU.
#pragma once

#include <cuda_runtime.h>
#include <cstdint>

#include "conv/activation.h"

namespace sparseops::gpu {

// What is multiplied; sums are float32 for all of them.
enum class ConvType { kHalf, kBfloat16, kTf32, kFloat };  // features are float for the last two

// Pointers are on the device, aligned to 16 bytes, arrays contiguous; channels are multiples of 8 (of 4 for float).
struct ConvArguments {
  const void* features;  // (num_in, in_channels)
  const void* weight;    // (out_channels, num_offsets, in_channels)
  // (num_offsets, num_out), row of the input or -1; column c belongs to output row order[c]. Null: every output row
  // reads the input's row of the same number, at one offset.
  const int* forwards;
  const int* order;      // (num_out), a permutation, or null: column c belongs to row c
  const float* bias;     // (out_channels) or null
  const void* residual;  // (num_out, out_channels) or null, added before the activation
  void* out;             // (num_out, out_channels)
  int num_in;
  int num_out;
  int num_offsets;
  int in_channels;
  int out_channels;
  Activation activation;
};

// Whether the current device multiplies this type (bfloat16 and tf32 from sm_80 on).
bool convolve_supports(ConvType type);

constexpr int kMaxInChannels = 1 << 14, kMaxKernelOffsets = 1 << 12;

// cudaErrorNotSupported where the current device cannot, cudaErrorInvalidValue beyond these limits and where its shared
// memory has no room for so many channels and offsets.
cudaError_t convolve(ConvType type, const ConvArguments& arguments, cudaStream_t stream);

// Whether convolve_hopper does this convolution on the current device; depends on nothing but sizes of the kernel and
// channels, so that a cloud's results do not depend on what else is in the batch.
bool hopper_supports(ConvType type, const ConvArguments& arguments);

// The same as convolve, faster, its sums rounded differently. cudaErrorNotSupported also where the driver cannot
// describe the weight.
cudaError_t convolve_hopper(ConvType type, const ConvArguments& arguments, cudaStream_t stream);

}  // namespace sparseops::gpu
