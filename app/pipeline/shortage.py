"""Memory that does not suffice."""

import torch


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device, or the machine, had no memory left; torch has no class of its own for the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "bad_alloc" in str(error))
