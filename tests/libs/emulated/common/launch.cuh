// Stands in for launch.cuh if there is no GPU: runs a kernel on the processor, the threads of a block as
// fibers that take turns at barriers and at operations of a warp.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#undef __shared__
#define __shared__ static
#undef __grid_constant__
#define __grid_constant__
#undef __launch_bounds__
#define __launch_bounds__(...)

namespace emulated {

// A copy into shared memory that may be late.
struct Copy {
  void* to;
  const void* from;
  bool present;
  size_t bytes;
  void run() const { present ? std::memcpy(to, from, bytes) : std::memset(to, 0, bytes); }
};

// longjmp without the check, where the compiler adds it, that the stack stays the same.
extern "C" [[noreturn]] void jump(jmp_buf, int) __asm__("_longjmp");

struct Thread {
  ucontext_t start;
  jmp_buf place;  // where it goes on; unlike swapcontext, a jump takes no call of the system
  bool started = false;
  uint3 index;
  bool done = false;
  void* offer = nullptr;                     // what this lane brings to an operation of its warp
  std::vector<std::vector<Copy>> groups{1};  // of copies, the last one open
};

// Threads that wait for each other.
struct Meeting {
  int arrived = 0;
  long meetings = 0;
};

struct Block {
  uint3 index, grid;
  std::vector<Thread> threads;
  std::vector<Meeting> warps;
  Meeting all;
  std::vector<char> shared;
  jmp_buf scheduler;
  int running = 0;
  std::function<void()> kernel;
};

constexpr size_t kStackBytes = 64 << 10;
inline std::vector<std::unique_ptr<char[]>> stacks;  // of the threads, for one block after the other
inline Block* block = nullptr;
inline bool late_copies = true;  // copies land when they are waited for, else at once
inline bool backwards = false;   // the order in which threads take their turns

inline void fail(const char* what) {
  std::fprintf(stderr, "emulated kernel: %s\n", what);
  std::abort();
}

inline Thread& self() { return block->threads[block->running]; }

[[gnu::noinline]] inline void yield() {
  if (_setjmp(self().place) == 0) jump(block->scheduler, 1);
}

[[gnu::noinline]] inline void take_turn() {
  if (_setjmp(block->scheduler) != 0) return;
  if (self().started) jump(self().place, 1);
  self().started = true;
  setcontext(&self().start);
}

// Waits for `members` threads; the last to come runs `together` for all.
inline void meet(Meeting& meeting, int members, const std::function<void()>& together) {
  const long before = meeting.meetings;
  if (++meeting.arrived == members) {
    together();
    meeting.arrived = 0;
    ++meeting.meetings;
  }
  while (meeting.meetings == before) yield();
}

inline void meet_all(const std::function<void()>& together) {
  const auto alive =
      std::count_if(block->threads.begin(), block->threads.end(), [](const Thread& t) { return !t.done; });
  meet(block->all, static_cast<int>(alive), together);
}

// Every lane brings `offer`; the last to come runs together(offers of the 32 lanes).
template <typename Offer, typename Together>
void meet_warp(Offer& offer, Together together) {
  const int warp = block->running / 32;
  self().offer = &offer;
  meet(block->warps[warp], 32, [&] {
    Offer* offers[32];
    for (int lane = 0; lane < 32; ++lane) {
      Thread& thread = block->threads[warp * 32 + lane];
      if (thread.done) fail("a lane has left before an operation of its warp");
      offers[lane] = static_cast<Offer*>(thread.offer);
    }
    together(offers);
  });
}

inline void enter() {
  block->kernel();
  self().done = true;
  yield();
}

inline void run_block(Block& current, int num_threads, size_t shared_bytes) {
  block = &current;
  current.shared.assign(shared_bytes, static_cast<char>(0xff));  // not a number, whoever reads it unwritten
  current.shared.shrink_to_fit();
  current.warps.assign(num_threads / 32, {});
  current.threads.clear();
  current.threads.resize(num_threads);
  for (int i = 0; i < num_threads; ++i) {
    Thread& thread = current.threads[i];
    thread.index = {static_cast<unsigned>(i), 0, 0};
    if (i == static_cast<int>(stacks.size())) stacks.emplace_back(new char[kStackBytes]);
    getcontext(&thread.start);
    thread.start.uc_stack.ss_sp = stacks[i].get();
    thread.start.uc_stack.ss_size = kStackBytes;
    makecontext(&thread.start, enter, 0);
  }
  for (int left = num_threads; left > 0;) {
    for (int turn = 0; turn < num_threads; ++turn) {
      current.running = backwards ? num_threads - 1 - turn : turn;
      if (self().done) continue;
      take_turn();
      left -= self().done;
    }
  }
}

}  // namespace emulated

#define threadIdx (emulated::self().index)
#define blockIdx (emulated::block->index)
#define gridDim (emulated::block->grid)
#define blockDim (dim3(static_cast<unsigned>(emulated::block->threads.size())))

using std::max;
using std::min;

inline void __syncthreads() {
  emulated::meet_all([] {});
}

inline int __syncthreads_count(bool vote) {
  static int votes, result;
  votes += vote;
  emulated::meet_all([] {
    result = votes;
    votes = 0;
  });
  return result;
}

inline void __syncwarp() {
  int nothing = 0;
  emulated::meet_warp(nothing, [](int**) {});
}

inline unsigned __ballot_sync(unsigned, bool vote) {
  unsigned offer = vote;
  emulated::meet_warp(offer, [](unsigned** offers) {
    unsigned votes = 0;
    for (int lane = 0; lane < 32; ++lane) votes |= *offers[lane] << lane;
    for (int lane = 0; lane < 32; ++lane) *offers[lane] = votes;
  });
  return offer;
}

inline bool __any_sync(unsigned mask, bool vote) { return __ballot_sync(mask, vote) != 0; }

inline int __shfl_up_sync(unsigned, int value, int step) {
  int offer = value;
  emulated::meet_warp(offer, [step](int** offers) {
    for (int lane = 31; lane >= step; --lane) *offers[lane] = *offers[lane - step];
  });
  return offer;
}

inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<uint64_t>(a) * b >> 32; }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

template <typename T>
T __ldg(const T* from) {
  return *from;
}

template <typename T, typename Change>
T exchange(T* at, Change change) {
  const T before = *at;
  *at = change(before);
  return before;
}

inline unsigned long long atomicCAS(unsigned long long* at, unsigned long long compare, unsigned long long value) {
  return exchange(at, [=](unsigned long long before) { return before == compare ? value : before; });
}
template <typename T>
T atomicMax(T* at, T value) {
  return exchange(at, [=](T before) { return std::max(before, value); });
}
template <typename T>
T atomicMin(T* at, T value) {
  return exchange(at, [=](T before) { return std::min(before, value); });
}
inline int atomicAnd(int* at, int value) {
  return exchange(at, [=](int before) { return before & value; });
}
inline unsigned atomicOr(unsigned* at, unsigned value) {
  return exchange(at, [=](unsigned before) { return before | value; });
}
inline int atomicOr(int* at, int value) {
  return exchange(at, [=](int before) { return before | value; });
}

inline float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }

// Lane gets what lane from(lane) brings.
template <typename Value, typename From>
Value shuffle(Value value, From from) {
  Value offer = value;
  emulated::meet_warp(offer, [from](Value** offers) {
    Value given[32];
    for (int lane = 0; lane < 32; ++lane) given[lane] = *offers[lane];
    for (int lane = 0; lane < 32; ++lane) *offers[lane] = given[from(lane)];
  });
  return offer;
}

template <typename Value>
Value __shfl_sync(unsigned, Value value, int source) {
  return shuffle(value, [source](int) { return source; });
}

template <typename Value>
Value __shfl_xor_sync(unsigned, Value value, int mask) {
  return shuffle(value, [mask](int lane) { return lane ^ mask; });
}

// Lane gets what the lane step before it brings, of the same group of width lanes; its own where there is none.
inline int __shfl_up_sync(unsigned, int value, int step, int width) {
  return shuffle(value, [=](int lane) { return lane % width >= step ? lane - step : lane; });
}

template <typename Value>
Value __shfl_sync(unsigned, Value value, int source, int width) {
  return shuffle(value, [=](int lane) { return lane / width * width + source; });
}

template <typename T>
T atomicAdd(T* at, T value) {
  return exchange(at, [=](T before) { return before + value; });
}

namespace common {

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 blocks, int threads, size_t shared_bytes, cudaStream_t,
                   Arguments... arguments) {
  static emulated::Block block;
  block.grid = {blocks.x, blocks.y, blocks.z};
  block.kernel = [&] { kernel(arguments...); };
  for (unsigned y = 0; y < blocks.y; ++y) {
    for (unsigned x = 0; x < blocks.x; ++x) {
      block.index = {x, y, 0};
      emulated::run_block(block, threads, shared_bytes);
    }
  }
  return cudaSuccess;
}

inline char* dynamic_shared() { return emulated::block->shared.data(); }

}  // namespace common
