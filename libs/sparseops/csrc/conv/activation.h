// What a convolution ends in; the numbers are those of the operators' argument.
#pragma once

namespace sparseops {

enum class Activation { kNone, kRelu, kGelu };

constexpr int kNumActivations = 3;

}  // namespace sparseops
