// Stands in for conv_hopper.cu, whose instructions are not emulated.
#include "conv/conv_cuda.h"

namespace sparseops::gpu {

bool hopper_supports(ConvType, const ConvArguments&) { return false; }
cudaError_t convolve_hopper(ConvType, const ConvArguments&, cudaStream_t) { return cudaErrorNotSupported; }

}  // namespace sparseops::gpu
