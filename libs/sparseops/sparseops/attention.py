"""Attention inside patches of any length."""

import torch
from torch import Tensor

from . import reference_serial as reference
from .extension import compiled_for
from .values import needs_gradient

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
MAX_HEAD_CHANNELS = 64  # on a GPU


def patch_attention(
    qkv: Tensor,
    cu_seqlens: Tensor,
    scale: float | None = None,
    bias: Tensor | None = None,
    cast: torch.dtype | None = None,
) -> Tensor:
    """softmax(scale * q @ k.T + bias) @ v for every patch and head.

    Exact in float32; no more than one patch's scores are held by a thread of the CPU, which computes float16 and
    bfloat16 in float32. A GPU multiplies these by tensor cores, with weights rounded to them and sums in float32, and
    reads nothing back. For gradients, and on a GPU with a bias or more than 64 channels a head, runs of patches of one
    length go through torch's own attention, which reads ``cu_seqlens`` back: torch.compile breaks its graph there.

    Args:
        qkv: float32, float16 or bfloat16 (T, 3, H, D), contiguous: query, key and value of each padded point and head.
        cu_seqlens: int32 (P + 1,), contiguous, ascending from 0 to T; patch p is the rows between two of them.
        scale: of the scores; None for D ** -0.5.
        bias: (P, H, L, L), float32 or the dtype of ``qkv``, contiguous, added to the scores; all patches then have the
            length L = T / P.
        cast: torch.bfloat16 (or torch.float16, as before August 2025) rounds query, key, value and the result as
            upstream does around flash attention; None rounds nothing.

    Returns:
        (T, H * D) in the dtype of ``qkv``.

    Raises:
        ValueError: wrong shape, dtype or device; a bias beside patches of several lengths; cu_seqlens that do not
            ascend from 0 to T, except on a GPU, where rows may then stay without a result.
    """
    if qkv.ndim != 4 or qkv.shape[1] != 3 or not qkv.is_contiguous():
        raise ValueError(f"qkv must be contiguous (T, 3, H, D), got {tuple(qkv.shape)}, strides {qkv.stride()}")
    if qkv.dtype not in DTYPES:
        raise ValueError(f"qkv must be float32, float16 or bfloat16, got {qkv.dtype}")
    if cu_seqlens.ndim != 1 or cu_seqlens.dtype != torch.int32 or not len(cu_seqlens):
        raise ValueError(f"cu_seqlens must be int32 (P + 1,), got {cu_seqlens.dtype} {tuple(cu_seqlens.shape)}")
    if cu_seqlens.device != qkv.device or not cu_seqlens.is_contiguous():
        raise ValueError(f"cu_seqlens must be contiguous on {qkv.device} with qkv, got {cu_seqlens.device}")
    if cast not in (None, torch.bfloat16, torch.float16):
        raise ValueError(f"cast must be torch.bfloat16, torch.float16 or None, got {cast}")
    if bias is not None:
        _check_bias(bias, qkv, cu_seqlens)
    scale = max(qkv.shape[3], 1) ** -0.5 if scale is None else scale
    given = qkv if cast is None else qkv.to(cast)
    precision = torch.float32 if qkv.device.type == "cpu" else given.dtype
    bias = None if bias is None else bias.to(precision)
    compiled = compiled_for(qkv) and not needs_gradient(qkv, bias)
    if qkv.is_cuda:
        compiled = compiled and bias is None and qkv.shape[3] <= MAX_HEAD_CHANNELS
    operators = torch.ops.sparseops if compiled else reference
    return operators.patch_attention(given.to(precision), cu_seqlens, scale, bias).to(given.dtype).to(qkv.dtype)


def _check_bias(bias: Tensor, qkv: Tensor, cu_seqlens: Tensor) -> None:
    num_patches = len(cu_seqlens) - 1
    length = len(qkv) // max(num_patches, 1)
    expected = (num_patches, qkv.shape[2], length, length)
    if tuple(bias.shape) != expected or bias.dtype not in (torch.float32, qkv.dtype) or not bias.is_contiguous():
        raise ValueError(
            f"bias must be contiguous float32 {expected} or of qkv's dtype, got {bias.dtype} {tuple(bias.shape)}"
        )
    if bias.device != qkv.device:
        raise ValueError(f"bias must be on {qkv.device} with qkv, got {bias.device}")
