// torch's header, but operators of a library become those of library_emulated, and what is for CUDA is for the CPU.
#pragma once

#include_next <torch/library.h>

#undef TORCH_LIBRARY_IMPL
#define TORCH_LIBRARY_IMPL(library, key, m) _TORCH_LIBRARY_IMPL(library##_emulated, CPU, m, C10_UID)
