"""Patches of PTv3's serialized attention: how each cloud's points are cut and filled up."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import reference_serial as reference
from .extension import compiled_for
from .values import need_values

LEVELS_AT_ONCE = 20  # as in csrc/patches/patches_cuda.h


class PatchPadding(NamedTuple):
    """Indices between points and padded points.

    ``x[pad]`` fills points up to whole patches, ``y[unpad]`` takes the points out again: ``pad[unpad]`` is 0, 1, …
    Patch p is rows cu_seqlens[p] to cu_seqlens[p + 1] - 1 of the padded points.
    """

    pad: Tensor  # int64 (num_padded,)
    unpad: Tensor  # int64 (num_points,)
    cu_seqlens: Tensor  # int32 (num_patches + 1,)


class LevelPatches(NamedTuple):
    """The patches of V voxels along K curves, T places each.

    ``gather`` has the row at each place, ``scatter`` the place of each row; patch p is places cu_seqlens[p] to
    cu_seqlens[p + 1] - 1.
    """

    gather: Tensor  # int32 (K, T)
    scatter: Tensor  # int32 (K, V)
    cu_seqlens: Tensor  # int32 (num_patches + 1,)


def level_patches(
    orders: Sequence[Tensor], inverses: Sequence[Tensor], ends: Sequence[Sequence[int]], patch_sizes: Sequence[int]
) -> list[LevelPatches]:
    """``patch_padding`` of the voxels of several levels along their curves; on a GPU in one call.

    Args:
        orders: of each level int32 (K, V), contiguous, rows along K curves, of every cloud before the next.
        inverses: of each level int32 (K, V), contiguous, each row's place on the curve.
        ends: of each level where each cloud ends, ascending.
        patch_sizes: of each level.

    Returns:
        The patches of each level.

    Raises:
        ValueError: as ``patch_padding``, and for orders and inverses that are not so.
    """
    for order, inverse, own in zip(orders, inverses, ends, strict=True):
        for each in (order, inverse):
            if each.ndim != 2 or each.dtype != torch.int32 or not each.is_contiguous():
                raise ValueError(f"orders must be contiguous int32 (K, V), got {each.dtype} {tuple(each.shape)}")
        if order.shape != inverse.shape or order.shape[1] != (own[-1] if own else 0):
            raise ValueError(f"orders and inverses must have the voxels of their clouds, got {tuple(order.shape)}")
    if orders and orders[0].is_cuda and compiled_for(orders[0]) and len(orders) <= LEVELS_AT_ONCE:
        found = torch.ops.sparseops.serial_patches(orders, [end for own in ends for end in own], patch_sizes)
        return [LevelPatches(*each) for each in zip(*found, strict=True)]
    levels = zip(orders, inverses, ends, patch_sizes, strict=True)
    return [_patches_of(*level) for level in levels]


def _patches_of(order: Tensor, inverse: Tensor, ends: Sequence[int], patch_size: int) -> LevelPatches:
    padding = patch_padding(ends, patch_size, order.device)
    scatter = padding.unpad.int().index_select(0, inverse.flatten()).view(order.shape)
    return LevelPatches(order.index_select(1, padding.pad), scatter, padding.cu_seqlens)


def patch_padding(
    offset: Tensor | Sequence[int], patch_size: int, device: torch.device | str | None = None
) -> PatchPadding:
    """Cut serialized clouds into patches.

    A cloud of up to ``patch_size`` points is one patch of its own length. A longer one is cut into patches of exactly
    ``patch_size``; the last is filled up with the points that stand ``patch_size`` places before the missing ones, the
    tail of the patch before. So it is upstream with flash attention; without it all clouds of a batch share
    ``patch_size = min(patch_size, points of the smallest cloud)``, which the caller passes.

    How many patches there are depends on the values, so torch.compile breaks its graph here.

    Args:
        offset: int64 (B,) or numbers, where each cloud ends, ascending; a tensor on a GPU is read once.
        patch_size: points in a patch, at least 1.
        device: of the result; None for that of ``offset``, of numbers the CPU.

    Raises:
        ValueError: wrong shape or dtype, offsets that descend, more than 2**31 - 1 padded points.
    """
    if isinstance(offset, Tensor):
        if offset.ndim != 1 or offset.dtype != torch.int64:
            raise ValueError(f"offset must be int64 (B,), got {offset.dtype} {tuple(offset.shape)}")
        need_values("offset", offset)
        ends: Sequence[int] = offset.tolist()
    else:
        ends, offset = offset, torch.tensor(offset, dtype=torch.int64)
    if patch_size < 1:
        raise ValueError(f"patch_size must be at least 1, got {patch_size}")
    num_padded, num_patches, start = 0, 0, 0
    for end in ends:
        if end < start:
            raise ValueError(f"offset must ascend from 0, got {end} after {start}")
        patches = -(-(end - start) // patch_size)
        num_padded += patches * patch_size if patches > 1 else end - start
        num_patches += patches
        start = end
    if num_padded >= 1 << 31:
        raise ValueError(f"at most 2**31 - 1 padded points fit cu_seqlens, got {num_padded}")
    offset = offset.to(device or offset.device, non_blocking=offset.device.type == "cpu").contiguous()
    operators = torch.ops.sparseops if compiled_for(offset) else reference
    return PatchPadding(*operators.patch_padding(offset, patch_size, start, num_padded, num_patches))
