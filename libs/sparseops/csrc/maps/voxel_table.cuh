// Voxels by keys that pack their coordinates, and tables that are hashed by them.
#pragma once

#include "maps/maps_cuda.h"

namespace sparseops::gpu {

constexpr int kCoordBits = 18;  // as in reference.py
static_assert(kCoordLimit == int64_t{1} << kCoordBits);

using Key = unsigned long long;
constexpr Key kFree = ~0ull;

struct Voxel {
  int64_t batch, x, y, z;
  __device__ Key key() const {
    return static_cast<Key>(((batch << kCoordBits | x) << kCoordBits | y) << kCoordBits | z);
  }
};

__device__ inline Voxel voxel_at(const int64_t* coords, int64_t row) {
  const longlong2* at = reinterpret_cast<const longlong2*>(coords) + row * 2;
  const longlong2 low = __ldg(at), high = __ldg(at + 1);
  return {low.x, low.y, high.x, high.y};
}

__device__ inline bool within_limits(Voxel v) {
  return v.batch >= 0 && v.batch < kBatchLimit && v.x >= 0 && v.x < kCoordLimit && v.y >= 0 && v.y < kCoordLimit &&
         v.z >= 0 && v.z < kCoordLimit;
}

// The finalizer of MurmurHash3.
__device__ __forceinline__ uint32_t hash(Key key) {
  key = (key ^ key >> 33) * 0xff51afd7ed558ccdull;
  key = (key ^ key >> 33) * 0xc4ceb9fe1a85ec53ull;
  return static_cast<uint32_t>(key ^ key >> 33);
}

// A power of two, at least twice the entries: a search always ends at a free slot, and soon.
inline uint32_t capacity_for(int num_entries) {
  uint32_t capacity = 64;
  while (capacity < 2u * static_cast<uint32_t>(num_entries)) capacity *= 2;
  return capacity;
}

// The slot that holds `key`, taken if none did.
template <typename Slot>
__device__ uint32_t insert(Slot* slots, uint32_t mask, Key key) {
  for (uint32_t slot = hash(key) & mask;; slot = (slot + 1) & mask) {
    const Key before = atomicCAS(&slots[slot].key, kFree, key);
    if (before == kFree || before == key) return slot;
  }
}

}  // namespace sparseops::gpu
