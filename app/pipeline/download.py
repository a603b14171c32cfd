"""Download of finished columns from the device into numpy arrays."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

PIECE_BYTES = 64 << 20  # of pinned memory that a column goes through at a time; torch keeps it for the next


def download(columns: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The ``columns`` by name as arrays, complete when this returns; those on the processor share their memory.

    From a GPU they come at full speed, through pinned memory, and the current stream is waited for once, or for every
    piece of a column that is larger than one.
    """
    here = {name: _brought(column) if column.is_cuda else column for name, column in columns.items()}
    for device in {column.device for column in columns.values() if column.is_cuda}:
        torch.cuda.current_stream(device).synchronize()
    return {name: column.numpy() for name, column in here.items()}


def _brought(column: Tensor) -> Tensor:
    """A copy of a column on a GPU; one of a single piece is in pinned memory, and on its way."""
    if column.nbytes <= PIECE_BYTES:
        return _pinned(column)
    here = torch.empty(column.shape, dtype=column.dtype)
    rows = max(1, PIECE_BYTES * len(column) // column.nbytes)
    for piece, place in zip(column.split(rows), here.split(rows), strict=True):
        pinned = _pinned(piece)
        torch.cuda.current_stream(column.device).synchronize()
        place.copy_(pinned)
    return here


def _pinned(column: Tensor) -> Tensor:
    return torch.empty(column.shape, dtype=column.dtype, pin_memory=True).copy_(column, non_blocking=True)
