"""Levels of coarser voxels: what clouds hold, and the steps from a level to the next."""

from collections.abc import Sequence
from itertools import compress, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from . import reference_levels as reference
from .extension import compiled_for
from .reference_levels import MAX_CLOUDS
from .values import need_values

MAX_LEVELS = 16


class CloudExtents(NamedTuple):
    """Of every cloud of a batch the number of voxels and the largest coordinate, 0 where it has none."""

    counts: tuple[int, ...]
    largest: tuple[int, ...]


class CoarseLevel(NamedTuple):
    """W voxels, each of consecutive ones of the finer level's V.

    Attributes:
        coords: int64 (W, 4) of cloud, x, y, z.
        ends: the end of each cloud.
        parents: int64 (V,), the coarser voxel of every finer one.
        starts: int64 (W + 1,), the finer voxels of each coarser one.
        orders: int32 (K, W), rows along each curve; K may be 0.
        inverses: int32 (K, W), each row's place on the curve.
    """

    coords: Tensor
    ends: tuple[int, ...]
    parents: Tensor
    starts: Tensor
    orders: Tensor
    inverses: Tensor


def cloud_extents(coords: Tensor) -> CloudExtents:
    """The number of voxels and the largest coordinate of each cloud. Reads the device once.

    There is a cloud for every number up to the largest. Coordinates of 2**31 and more count as 2**31 - 1.

    Args:
        coords: int64 (V, 4) of cloud, x, y, z, in any order, contiguous.

    Raises:
        ValueError: wrong shape, dtype or layout, a meta tensor, a coordinate below 0 or a cloud outside [0, 512).
    """
    _check_coords(coords)
    need_values("coords", coords)
    operators = torch.ops.sparseops if compiled_for(coords) else reference
    # counts and largest coordinates by turns: a list a cloud would take longer than the device
    *extents, wrong, _ = operators.cloud_extents(coords).flatten().tolist()
    if wrong:
        raise ValueError(
            f"coordinates must be at least 0 and clouds lie in [0, {MAX_CLOUDS}), got {coords.amin(0).tolist()} to "
            f"{coords.amax(0).tolist()}"
        )
    counts, largest = extents[::2], extents[1::2]
    num_clouds = max(compress(range(1, MAX_CLOUDS + 1), counts), default=0)
    return CloudExtents(tuple(counts[:num_clouds]), tuple(largest[:num_clouds]))


def coarse_levels(
    coords: Tensor, ends: Sequence[int], shifts: Sequence[Sequence[int]], orders: Tensor | None = None
) -> list[CoarseLevel]:
    """The levels of coarser voxels, from fine to coarse. Reads the device once for all of them.

    Args:
        coords: int64 (V, 4) of cloud, x, y, z from 0, contiguous, clouds ascending. The voxels of each coarser one must
            be consecutive, as along a z curve; where they are not, it occurs more than once.
        ends: the end of each cloud.
        shifts: for every level and cloud how often edges have been halved, 0 to 62, from level to level no less.
        orders: int32 (K, V), contiguous, rows along curves, on which the voxels of each coarser one are consecutive;
            None for no curves.

    Returns:
        A level for each of ``shifts``.

    Raises:
        ValueError: wrong shape, dtype, layout or device, a meta tensor, or shifts that are not so.
    """
    _check_coords(coords)
    need_values("coords", coords)
    num_clouds, device = len(ends), coords.device
    if len(shifts) > MAX_LEVELS or any(len(level) != num_clouds for level in shifts):
        raise ValueError(f"shifts must be of at most {MAX_LEVELS} levels, each of {num_clouds} clouds, got {shifts}")
    for before, after in zip([[0] * num_clouds, *shifts], shifts, strict=False):
        if any(not low <= high <= 62 for low, high in zip(before, after, strict=True)):
            raise ValueError(f"shifts must ascend from level to level, from 0 to 62, got {shifts}")
    if orders is None:
        orders = coords.new_empty(0, len(coords), dtype=torch.int32)
    if orders.ndim != 2 or orders.dtype != torch.int32 or orders.shape[1] != len(coords) or not orders.is_contiguous():
        raise ValueError(
            f"orders must be contiguous int32 (K, {len(coords)}), got {orders.dtype} {tuple(orders.shape)}, strides "
            f"{orders.stride()}"
        )
    if orders.device != device:
        raise ValueError(f"orders must be on {device} with coords, got {orders.device}")
    if not shifts:
        return []
    operators = torch.ops.sparseops if compiled_for(coords) and len(coords) else reference
    lasts = [max(end - 1, 0) for end in ends]
    uploaded = torch.tensor([*shifts, lasts], dtype=torch.int64).to(device, non_blocking=True)
    ranks = operators.coarse_ranks(coords, uploaded[:-1])
    # of every level the rows up to the end of each cloud, counted on through all levels
    counted = ranks.index_select(1, uploaded[-1]).tolist() if len(coords) else [[0] * num_clouds] * len(shifts)
    begins = [0, *(max(level, default=0) for level in counted)]
    sizes = [end - begin for begin, end in pairwise(begins)]
    coarse, parents, starts = operators.coarse_rows(coords, ranks, uploaded[:-1], sizes)
    along = [
        rows.split([len(orders) * size for size in sizes]) for rows in operators.coarse_orders(orders, parents, sizes)
    ]
    parts = coarse.split(sizes), parents.split([len(coords), *sizes[:-1]]), starts.split([size + 1 for size in sizes])
    found = []
    for level, (voxels, up, down, *rows) in enumerate(zip(*parts, *along, strict=True)):
        own_ends = tuple(count - begins[level] if end else 0 for count, end in zip(counted[level], ends, strict=True))
        found.append(CoarseLevel(voxels, own_ends, up, down, *(each.view(len(orders), sizes[level]) for each in rows)))
    return found


def _check_coords(coords: Tensor) -> None:
    if coords.ndim != 2 or coords.shape[1] != 4 or coords.dtype != torch.int64 or not coords.is_contiguous():
        raise ValueError(
            f"coords must be contiguous int64 (V, 4) of cloud, x, y, z, got {coords.dtype} {tuple(coords.shape)}, "
            f"strides {coords.stride()}"
        )
