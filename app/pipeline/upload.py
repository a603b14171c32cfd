"""Upload of arrays to the device."""

import numpy as np
import torch
from torch import Tensor

PIECE_BYTES = 16 << 20  # of pinned memory that an array goes through at a time; torch keeps it for the next


def upload(values: np.ndarray, device: str | torch.device) -> Tensor:
    """``values`` (N, …) as a tensor on ``device``, on a GPU in the order of the current stream.

    On the CPU it shares their memory, if they are contiguous and writable; so nobody may write to it. To a GPU they go
    through pinned memory: from other memory the driver copies piece by piece, and torch waits for the stream, for three
    numbers too.
    """
    here = torch.from_numpy(np.require(values, requirements=["C", "W"]))
    if torch.device(device).type != "cuda" or not here.numel():
        return here.to(device)
    there = torch.empty_like(here, device=device, memory_format=torch.contiguous_format)
    rows = max(1, PIECE_BYTES * len(here) // max(1, here.nbytes))
    for piece, place in zip(here.split(rows), there.split(rows), strict=True):
        place.copy_(piece.pin_memory(), non_blocking=True)
    return there
