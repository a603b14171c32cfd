// Stands in for told.h: what kernels write is there at once.
#pragma once

#include <c10/cuda/CUDAStream.h>

namespace common {

template <typename Result>
class Told {
 public:
  Result* memory() { return &result_; }
  void queued(c10::cuda::CUDAStream) {}
  const Result& wait() { return result_; }

 private:
  Result result_;
};

}  // namespace common
