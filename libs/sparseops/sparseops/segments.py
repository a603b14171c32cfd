"""Reductions of rows over consecutive segments."""

import torch
from torch import Tensor

from . import reference_serial as reference
from .extension import compiled_for
from .reference_serial import REDUCTIONS
from .values import needs_gradient


def segment_reduce(values: Tensor, offsets: Tensor, reduction: str) -> Tensor:
    """Reduce the rows offsets[s] to offsets[s + 1] - 1 of ``values`` to row s of the result.

    An empty segment gives zeros, for every reduction. A NaN in a segment makes its result NaN. Sums are formed in
    float64 in a fixed order and rounded once, so a run repeats to the bit. Gradients are by plain torch, which reads
    the offsets back.

    Args:
        values: float32, float64, float16 or bfloat16 (N, C), contiguous.
        offsets: int64 (S + 1,), contiguous, ascending from 0 to N. The compiled operator on a GPU does not read the
            values back: it moves offsets outside [0, N] to its ends.
        reduction: "sum", "mean", "max" or "min".

    Returns:
        (S, C) in the dtype of ``values``.

    Raises:
        ValueError: wrong shape, dtype, device or name; where the offsets are read also those that do not ascend from 0
            to N.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    if values.ndim != 2 or not values.is_contiguous():
        raise ValueError(f"values must be contiguous (N, C), got {tuple(values.shape)}, strides {values.stride()}")
    if values.dtype not in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        raise ValueError(f"values must be float32, float64, float16 or bfloat16, got {values.dtype}")
    if offsets.ndim != 1 or offsets.dtype != torch.int64 or not len(offsets) or not offsets.is_contiguous():
        raise ValueError(f"offsets must be contiguous int64 (S + 1,), got {offsets.dtype} {tuple(offsets.shape)}")
    if offsets.device != values.device:
        raise ValueError(f"offsets must be on {values.device} with values, got {offsets.device}")
    operators = torch.ops.sparseops if compiled_for(values) and not needs_gradient(values) else reference
    return operators.segment_reduce(values, offsets, REDUCTIONS.index(reduction))
