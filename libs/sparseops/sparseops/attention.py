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
    table: Tensor | None = None,
    voxels: Tensor | None = None,
    cast: torch.dtype | None = None,
) -> Tensor:
    """softmax(scale * q @ k.T + bias) @ v for every patch and head.

    Exact in float32; no more than one patch's scores are held by a thread of the CPU, which computes float16 and
    bfloat16 in float32. A GPU multiplies these by tensor cores, with weights rounded to them and sums in float32, and
    reads nothing back. For gradients, and on a GPU with more than 64 channels a head, runs of patches of one length go
    through torch's own attention, which reads ``cu_seqlens`` back: torch.compile breaks its graph there.

    Args:
        qkv: float32, float16 or bfloat16 (T, 3, H, D), contiguous: query, key and value of each padded point and head.
        cu_seqlens: int32 (P + 1,), contiguous, ascending from 0 to T; patch p is the rows between two of them.
        scale: of the scores; None for D ** -0.5.
        table: float32 or the dtype of ``qkv`` (3 * (2 * bound + 1), H), contiguous, for a bias by relative position.
            Its thirds are for x, y and z; the entries for query - key, clamped to ±``bound``, are added. A GPU takes a
            ``bound`` of up to 511. None for no bias.
        voxels: int32 (T, 3), contiguous, within ±2**30: positions, if there is a table.
        cast: torch.bfloat16 (or torch.float16, as before August 2025) rounds query, key, value and the result as
            upstream does around flash attention; None rounds nothing.

    Returns:
        (T, H * D) in the dtype of ``qkv``.

    Raises:
        ValueError: wrong shape, dtype or device; a table without voxels, or voxels without one; cu_seqlens that do not
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
    if table is not None and voxels is not None:
        _check_positions(table, voxels, qkv)
        table = table.float()
    elif table is not None or voxels is not None:
        raise ValueError("table and voxels must be given together, got one of them")
    scale = max(qkv.shape[3], 1) ** -0.5 if scale is None else scale
    given = qkv if cast is None else qkv.to(cast)
    precision = torch.float32 if qkv.device.type == "cpu" else given.dtype
    compiled = compiled_for(qkv) and not needs_gradient(qkv, table)
    if qkv.is_cuda and qkv.shape[3] > MAX_HEAD_CHANNELS:
        compiled = False
    operators = torch.ops.sparseops if compiled else reference
    out = operators.patch_attention(given.to(precision), cu_seqlens, scale, table, voxels)
    return out.to(given.dtype).to(qkv.dtype)


def _check_positions(table: Tensor, voxels: Tensor, qkv: Tensor) -> None:
    rows, _, heads, _ = qkv.shape
    if table.ndim != 2 or table.shape[0] % 6 != 3 or table.shape[1] != heads or not table.is_contiguous():
        raise ValueError(
            f"table must be contiguous (3 * (2 * bound + 1), {heads}), got {tuple(table.shape)}, "
            f"strides {table.stride()}"
        )
    if table.dtype not in (torch.float32, qkv.dtype) or table.device != qkv.device:
        raise ValueError(
            f"table must be float32 or {qkv.dtype} on {qkv.device} with qkv, got {table.dtype} on {table.device}"
        )
    if tuple(voxels.shape) != (rows, 3) or not voxels.is_contiguous():
        raise ValueError(f"voxels must be contiguous ({rows}, 3), got {tuple(voxels.shape)}, strides {voxels.stride()}")
    if voxels.dtype != torch.int32 or voxels.device != qkv.device:
        raise ValueError(f"voxels must be int32 on {qkv.device} with qkv, got {voxels.dtype} on {voxels.device}")
