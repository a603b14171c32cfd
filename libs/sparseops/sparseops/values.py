"""Whether tensors have values that may be read, and whether autograd records what is done with them."""

import torch
from torch import Tensor


def is_meta(tensor: Tensor) -> bool:
    """Whether there are no values, in a way that torch.compile sees through."""
    return tensor.device.type == "meta"


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Whether autograd is to record what is done with ``tensors``."""
    return torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad and not is_meta(tensor) for tensor in tensors
    )


def can_be_read(tensor: Tensor) -> bool:
    """Whether there are values to check: not in a meta tensor, nor while torch.compile traces."""
    return not (torch.compiler.is_compiling() or is_meta(tensor))


def need_values(name: str, tensor: Tensor) -> None:
    """Raises ValueError for a meta tensor if the size of a result depends on its values."""
    if is_meta(tensor):
        raise ValueError(f"{name} must have values, which the result's size depends on, got a meta tensor")
