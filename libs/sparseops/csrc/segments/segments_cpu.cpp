// Reductions of rows over segments, on the CPU.
#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <limits>

#include "segments/segments_cpu.h"

namespace sparseops {
namespace {

constexpr int64_t kChannels = 64;  // channels of a task

// One segment's rows [begin, end) of `width` channels.
template <Reduction reduction, typename Value>
void reduce_rows(const Value* values, int64_t begin, int64_t end, int64_t channels, int64_t width, Value* out) {
  double sums[kChannels] = {};
  if (begin == end) {
    std::fill_n(out, width, Value(0));
    return;
  }
  if constexpr (reduction == kSum || reduction == kMean) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t c = 0; c < width; ++c) sums[c] += static_cast<double>(values[row * channels + c]);
    }
    const double count = reduction == kMean ? static_cast<double>(end - begin) : 1.0;
    for (int64_t c = 0; c < width; ++c) out[c] = static_cast<Value>(sums[c] / count);
  } else {
    std::copy_n(values + begin * channels, width, out);
    for (int64_t row = begin + 1; row < end; ++row) {
      for (int64_t c = 0; c < width; ++c) {
        const Value value = values[row * channels + c];
        const bool better = reduction == kMax ? value > out[c] : value < out[c];
        out[c] = better || value != value ? value : out[c];  // a NaN stays
      }
    }
  }
}

template <Reduction reduction, typename Value>
void reduce_segments(const Value* values, const int64_t* offsets, int64_t num_segments, int64_t channels, Value* out) {
  const int64_t blocks = (channels + kChannels - 1) / kChannels;
  const int64_t mean_rows = num_segments > 0 ? offsets[num_segments] / num_segments : 0;
  const int64_t grain = std::max<int64_t>(1, 32768 / ((mean_rows + 1) * std::min(channels, kChannels) + 1));
  at::parallel_for(0, num_segments * blocks, grain, [&](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) {
      const int64_t segment = task / blocks, channel = task % blocks * kChannels;
      reduce_rows<reduction>(values + channel, offsets[segment], offsets[segment + 1], channels,
                             std::min(kChannels, channels - channel), out + segment * channels + channel);
    }
  });
}

}  // namespace

template <typename Value>
void segment_reduce_cpu(const Value* values, const int64_t* offsets, int64_t num_segments, int64_t channels,
                        Reduction reduction, Value* out) {
  switch (reduction) {
    case kSum: return reduce_segments<kSum>(values, offsets, num_segments, channels, out);
    case kMean: return reduce_segments<kMean>(values, offsets, num_segments, channels, out);
    case kMax: return reduce_segments<kMax>(values, offsets, num_segments, channels, out);
    case kMin: return reduce_segments<kMin>(values, offsets, num_segments, channels, out);
  }
}

template void segment_reduce_cpu(const float*, const int64_t*, int64_t, int64_t, Reduction, float*);
template void segment_reduce_cpu(const double*, const int64_t*, int64_t, int64_t, Reduction, double*);
template void segment_reduce_cpu(const c10::Half*, const int64_t*, int64_t, int64_t, Reduction, c10::Half*);
template void segment_reduce_cpu(const c10::BFloat16*, const int64_t*, int64_t, int64_t, Reduction, c10::BFloat16*);

}  // namespace sparseops
