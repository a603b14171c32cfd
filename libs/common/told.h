// What the device tells the host.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/cuda/CUDAStream.h>

namespace common {

// A result in page-locked memory.
template <typename Result>
class Told {
 public:
  Result* memory() { return static_cast<Result*>(bytes_.mutable_data_ptr()); }
  // To be called when what writes the memory is queued.
  void queued(c10::cuda::CUDAStream stream) { written_.record(stream); }
  // Waits until it is written.
  const Result& wait() {
    written_.synchronize();
    return *memory();
  }

 private:
  at::Tensor bytes_ = at::empty({sizeof(Result)}, at::TensorOptions(at::kByte).pinned_memory(true));
  c10::Event written_{at::kCUDA};
};

}  // namespace common
