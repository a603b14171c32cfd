// Stands in for instructions.cuh: the same operations on emulated warps.
#pragma once

#include "conv/ptx.cuh"

namespace sparseops::gpu {

inline void copy4(void* shared, const void* global, bool present) { copy<4>(shared, global, present); }

inline void load_transposed(uint32_t (&registers)[4], const void* shared) {
  struct Lane {
    uint32_t* registers;
    const uint16_t* row;
  } own{registers, static_cast<const uint16_t*>(shared)};
  emulated::meet_warp(own, [](Lane** lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int matrix = 0; matrix < 4; ++matrix) {
        const int row = matrix * 8 + lane % 4 * 2, column = lane / 4;
        lanes[lane]->registers[matrix] = lanes[row]->row[column] | uint32_t{lanes[row + 1]->row[column]} << 16;
      }
    }
  });
}

inline float power_of_2(float x) { return std::exp2(x); }

}  // namespace sparseops::gpu
