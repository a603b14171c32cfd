// Tensors in huge pages.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace common {

// Uninitialised memory; a large one in huge pages where the system has them: faults for pages of 4 KiB take longer than
// filling a kernel map.
inline at::Tensor allocate(at::IntArrayRef sizes, const at::TensorOptions& options) {
  const at::Tensor tensor = at::empty(sizes, options);
#if defined(__linux__)
  constexpr uintptr_t page = uintptr_t{1} << 21;
  const uintptr_t start = reinterpret_cast<uintptr_t>(tensor.mutable_data_ptr());
  const uintptr_t first = (start + page - 1) & ~(page - 1), last = (start + tensor.nbytes()) & ~(page - 1);
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
  return tensor;
}

}  // namespace common
