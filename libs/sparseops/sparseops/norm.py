"""Layer norms of rows: public, checked functions."""

import torch
from torch import Tensor

from . import reference
from .extension import compiled_for
from .values import needs_gradient


def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    residual: Tensor | None = None,
) -> Tensor:
    """Every row less its mean, by its standard deviation, times ``weight`` and plus ``bias``; plus ``residual``.

    Mean and variance are sums in float32 (float64 for float64), in an order that does not depend on the other rows.
    There are gradients by all tensors.

    Args:
        x: (N, C), contiguous, floating point.
        weight, bias: (C,), contiguous, in the dtype of ``x``, or None.
        eps: added to the variance.
        residual: (N, C), contiguous, in the dtype of ``x``, or None.

    Returns:
        (N, C) in the dtype of ``x``.

    Raises:
        ValueError: a shape, dtype or device is wrong, or a tensor is not contiguous.
    """
    _check(x, residual=residual, weight=weight, bias=bias)
    if compiled_for(x) and not needs_gradient(x, weight, bias, residual):
        return torch.ops.sparseops.layer_norm(x, weight, bias, eps, residual)
    return reference.layer_norm(x, weight, bias, eps, residual)


def residual_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    next_weight: Tensor | None = None,
    next_bias: Tensor | None = None,
    eps: float = 1e-5,
    next_eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """``residual`` plus the layer norm of ``x``, and the next layer norm, of that sum as it is rounded.

    The same as ``layer_norm`` twice, in one pass over memory on a GPU; arguments are as there.

    Returns:
        Both (N, C), in the dtype of ``x``.

    Raises:
        ValueError: as there.
    """
    _check(x, residual=residual, weight=weight, bias=bias, next_weight=next_weight, next_bias=next_bias)
    given = (x, residual, weight, bias, next_weight, next_bias)
    if compiled_for(x) and not needs_gradient(*given):
        return torch.ops.sparseops.residual_norm(x, residual, weight, bias, eps, next_weight, next_bias, next_eps)
    out = reference.layer_norm(x, weight, bias, eps, residual)
    return out, reference.layer_norm(out, next_weight, next_bias, next_eps)


def _check(x: Tensor, residual: Tensor | None, **affine: Tensor | None) -> None:
    if x.ndim != 2 or not x.is_floating_point() or not x.is_contiguous():
        raise ValueError(f"x must be (N, C), contiguous, floating point, got {x.dtype} {tuple(x.shape)}{_gaps(x)}")
    _check_beside("residual", residual, x.shape, x)
    for name, tensor in affine.items():
        _check_beside(name, tensor, x.shape[1:], x)


def _check_beside(name: str, tensor: Tensor | None, shape: torch.Size, x: Tensor) -> None:
    if tensor is None:
        return
    if tensor.shape != shape or tensor.dtype != x.dtype or tensor.device != x.device or not tensor.is_contiguous():
        raise ValueError(
            f"{name} must be {tuple(shape)}, {x.dtype} on {x.device}, contiguous, got {tuple(tensor.shape)}, "
            f"{tensor.dtype} on {tensor.device}{_gaps(tensor)}"
        )


def _gaps(tensor: Tensor) -> str:
    return "" if tensor.is_contiguous() else f", not contiguous, with strides {tensor.stride()}"
