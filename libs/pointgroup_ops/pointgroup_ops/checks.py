"""Checks of tensors: what is wrong is said with what was given."""

from typing import Any

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (torch.int32, torch.int64)

Shape = tuple[int | str, ...]  # numbers are what lengths must be, names stand for any


def check(name: str, tensor: Any, dtype: torch.dtype, shape: Shape | None, device: torch.device | None = None) -> None:
    """ValueError unless ``tensor`` is contiguous and of ``dtype``, ``shape`` and ``device``; None is any of these."""
    right_device = isinstance(tensor, Tensor) and device in (None, tensor.device)
    if not (right_device and _is_one(tensor, (dtype,), shape) and tensor.is_contiguous()):
        place = "" if device is None else f" on {device}"
        raise ValueError(f"{name} must be a contiguous {dtype} tensor {_written(shape)}{place}, got {_told(tensor)}")


def check_kind(name: str, tensor: Any, dtypes: tuple[torch.dtype, ...], shape: Shape) -> None:
    """ValueError unless ``tensor`` is of one of ``dtypes`` and of ``shape``."""
    if not _is_one(tensor, dtypes, shape):
        kinds = " or ".join(map(str, dtypes))
        raise ValueError(f"{name} must be a {kinds} tensor {_written(shape)}, got {_told(tensor)}")


def _is_one(tensor: Any, dtypes: tuple[torch.dtype, ...], shape: Shape | None) -> bool:
    if not isinstance(tensor, Tensor) or tensor.device.type == "meta" or tensor.dtype not in dtypes:
        return False
    return shape is None or (
        tensor.dim() == len(shape)
        and all(isinstance(size, str) or size == got for size, got in zip(shape, tensor.shape, strict=True))
    )


def _written(shape: Shape | None) -> str:
    return "of any shape" if shape is None else f"({', '.join(map(str, shape))})"


def _told(tensor: Any) -> str:
    if not isinstance(tensor, Tensor):
        return type(tensor).__name__
    layout = "" if tensor.is_contiguous() else "non-contiguous "
    values = ", which has no values" if tensor.device.type == "meta" else ""
    return f"{layout}{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}{values}"
