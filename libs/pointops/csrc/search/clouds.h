// Clouds of tensors.
#pragma once

#include "search/search_cpu.h"
#include "tensors.h"

namespace pointops {

inline cpu::Clouds clouds(const Tensor& offset) { return {longs(offset), offset.size(0)}; }

}  // namespace pointops
