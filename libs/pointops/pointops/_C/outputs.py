"""Tensors of the caller: checked, then written or added to."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..checks import check_float32, check_like


def check_counts(lengths: torch.Size, **counts: int) -> None:
    """ValueError unless ``counts``, in their order, are the ``lengths`` of a tensor."""
    if tuple(lengths) != tuple(counts.values()):
        given = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"the counts are {given}; by the tensors they are {', '.join(map(str, lengths))}")


def write(**pairs: tuple[Tensor, Tensor]) -> None:
    """Copies, after checking all, the second of each pair into the first, which is of its shape, dtype and device."""
    _check_pairs(pairs)
    for output, result in pairs.values():
        output.copy_(result)


def add(**pairs: tuple[Tensor, Tensor]) -> None:
    """Adds, after checking all, the second of each pair to the first, which is of its shape, dtype and device."""
    _check_pairs(pairs)
    for output, result in pairs.values():
        output.add_(result)


def gradients(function: Callable[..., Tensor], grad_output: Tensor, **inputs: Tensor) -> tuple[Tensor, ...]:
    """Of the sum of ``grad_output`` times ``function`` of ``inputs``, by each of these."""
    for name, tensor in inputs.items():
        check_float32(name, tensor)
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in inputs.values()]
        output = function(*leaves)
    check_like("grad_output", grad_output, output)
    return torch.autograd.grad(output, leaves, grad_output)


def _check_pairs(pairs: dict[str, tuple[Tensor, Tensor]]) -> None:
    for name, (output, result) in pairs.items():
        check_like(name, output, result)
