// Connected components on the CPU, on raw pointers; threads are torch's.
#pragma once

#include <cstdint>

#include "components/components.h"

namespace sparseops {

// lowest (num_nodes): the lowest of the nodes that hang together with each one.
void connected_components_cpu(const Nodes& nodes, int64_t num_rows, int64_t* lowest);

}  // namespace sparseops
