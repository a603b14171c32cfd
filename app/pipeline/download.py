"""The way of finished columns from the device into numpy."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def download(columns: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The ``columns`` by name as arrays, complete when this returns; those on the processor share their memory.

    From a GPU they come at full speed, through pinned memory, and the current stream is waited for once.
    """
    here = {
        name: column
        if column.device.type == "cpu"
        else torch.empty(column.shape, dtype=column.dtype, pin_memory=True).copy_(column, non_blocking=True)
        for name, column in columns.items()
    }
    for device in {column.device for column in columns.values() if column.is_cuda}:
        torch.cuda.current_stream(device).synchronize()
    return {name: column.numpy() for name, column in here.items()}
