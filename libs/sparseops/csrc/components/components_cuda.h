// Connected components on a GPU. Pointers are on the device; nothing waits for it.
#pragma once

#include <cuda_runtime.h>
#include <cstdint>

#include "components/components.h"

namespace sparseops::gpu {

// lowest (num_nodes): the lowest of the nodes that hang together with each one.
cudaError_t connected_components(const Nodes& nodes, int64_t num_rows, int64_t* lowest, cudaStream_t stream);

}  // namespace sparseops::gpu
