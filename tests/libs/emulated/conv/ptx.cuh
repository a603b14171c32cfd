// Stands in for ptx.cuh: the same operations on emulated warps.
#pragma once

#include "common/launch.cuh"

namespace sparseops::gpu {

template <size_t kBytes>
void copy(void* shared, const void* global, bool present) {
  if (reinterpret_cast<uintptr_t>(shared) % kBytes != 0 || reinterpret_cast<uintptr_t>(global) % kBytes != 0) {
    emulated::fail("a copy is not aligned");
  }
  const emulated::Copy copy{shared, global, present, kBytes};
  if (emulated::late_copies) {
    emulated::self().groups.back().push_back(copy);
  } else {
    copy.run();
  }
}

inline void copy16(void* shared, const void* global, bool present) { copy<16>(shared, global, present); }

inline void copies_commit() { emulated::self().groups.emplace_back(); }

template <int kPending>
void copies_wait() {
  auto& groups = emulated::self().groups;  // the last one is open
  while (groups.size() > kPending + 1) {
    for (const auto& copy : groups.front()) copy.run();
    groups.erase(groups.begin());
  }
}

inline float4 load_in_order(const void* shared) { return *static_cast<const float4*>(shared); }

inline void load_matrices(uint32_t (&registers)[4], const void* shared) {
  struct Lane {
    uint32_t* registers;
    const uint32_t* row;
  } own{registers, static_cast<const uint32_t*>(shared)};
  emulated::meet_warp(own, [](Lane** lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int matrix = 0; matrix < 4; ++matrix) {
        lanes[lane]->registers[matrix] = lanes[matrix * 8 + lane / 4]->row[lane % 4];
      }
    }
  });
}

// Element i of a register that holds as many as fit.
template <typename Operand>
float element(uint32_t bits, int i) {
  Operand values[4 / sizeof(Operand)];
  std::memcpy(values, &bits, 4);
  return static_cast<float>(values[i]);
}

// The layouts of mma.sync: lane 4 g + t holds of a row g (registers 0 and 2) and g + 8 (1 and 3), word t of the first
// (0 and 1) and of the second 16 bytes (2 and 3); of b row g, likewise; of c columns 2 t and 2 t + 1.
template <typename Operand>
void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  struct Lane {
    float* c;
    const uint32_t* a;
    uint32_t b[2];
  } own{c, a, {b0, b1}};
  emulated::meet_warp(own, [](Lane** lanes) {
    constexpr int kPerWord = 4 / sizeof(Operand);
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        float sum = 0;
        for (int word = 0; word < 8; ++word) {
          const uint32_t from_a = lanes[row % 8 * 4 + word % 4]->a[row / 8 + word / 4 * 2];
          const uint32_t from_b = lanes[column * 4 + word % 4]->b[word / 4];
          for (int i = 0; i < kPerWord; ++i) sum += element<Operand>(from_a, i) * element<Operand>(from_b, i);
        }
        lanes[row % 8 * 4 + column / 2]->c[row / 8 * 2 + column % 2] += sum;
      }
    }
  });
}

inline void round_to_tf32(uint32_t (&registers)[4]) {
  for (uint32_t& bits : registers) bits = (bits + (1u << 12)) >> 13 << 13;
}

}  // namespace sparseops::gpu
