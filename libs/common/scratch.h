// Scratch memory on a GPU, handed out part by part.
#pragma once

#include <cstdint>

namespace common {

// Parts begin at multiples of 256 bytes. Without memory all of them are null, and their bytes are counted.
class Scratch {
 public:
  explicit Scratch(void* memory = nullptr) : memory_(static_cast<char*>(memory)) {}

  template <typename T>
  T* take(int64_t count) {
    char* part = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += (count * static_cast<int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<T*>(part);
  }
  int64_t used() const { return used_; }

 private:
  static constexpr int64_t kAlignment = 256;
  char* memory_;
  int64_t used_ = 0;
};

}  // namespace common
