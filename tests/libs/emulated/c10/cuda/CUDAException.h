// Stands in for torch's header if there is no GPU.
#pragma once

#include <c10/util/Exception.h>
#include <cuda_runtime.h>

#define C10_CUDA_CHECK(call)                                                  \
  do {                                                                        \
    const cudaError_t status = (call);                                        \
    TORCH_CHECK(status == cudaSuccess, "a kernel was refused with ", status); \
  } while (false)
