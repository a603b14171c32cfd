"""Whether the compiled operators are here, and for what."""

import warnings

import torch
from torch import Tensor

try:
    from ._C import ARCHITECTURES as _BUILT_FOR

    ARCHITECTURES: tuple[str, ...] = tuple(_BUILT_FOR.split(","))
except ModuleNotFoundError:
    ARCHITECTURES = ()
except ImportError as error:
    warnings.warn(
        f"the compiled operators of sparseops do not load, slow ones run instead; install it again: {error}",
        stacklevel=2,
    )
    ARCHITECTURES = ()


def compiled_for(tensor: Tensor) -> bool:
    """Whether torch.ops.sparseops has kernels for the device of ``tensor``; for meta tensors it has shapes."""
    kind = tensor.device.type
    return bool(ARCHITECTURES) and (kind in ("cpu", "meta") or (kind == "cuda" and len(ARCHITECTURES) > 1))


def is_meta(tensor: Tensor) -> bool:
    """Whether there are no values, in a way that torch.compile sees through."""
    return tensor.device.type == "meta"


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Whether autograd is to record what is done with ``tensors``; the compiled operators have no gradients."""
    recorded = any(tensor is not None and tensor.requires_grad and not is_meta(tensor) for tensor in tensors)
    return recorded and torch.is_grad_enabled()


def can_be_read(tensor: Tensor) -> bool:
    """Whether there are values to check: not in a meta tensor, nor while torch.compile traces."""
    return not (torch.compiler.is_compiling() or is_meta(tensor))


def need_values(name: str, tensor: Tensor) -> None:
    """ValueError for a meta tensor whose values would tell the size of a result."""
    if is_meta(tensor):
        raise ValueError(f"{name} must have values, which the result's size depends on, got a meta tensor")
