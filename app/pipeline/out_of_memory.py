"""Recognizes errors that mean that memory did not suffice."""

import errno

import torch

SIGNS = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory", "ALLOC_FAILED")


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device or the machine had no memory left.

    Torch has no class of its own for the CPU, and CUDA's libraries have messages of their own.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
