"""Cuts a large set of voxels into overlapping tiles, with the weights by which their outputs are joined.

A tile is a core, a rectangle of voxel columns, with a halo around it. The cores cover every voxel once. The outer
three quarters of the halo are context only; in the inner quarter a tile's weight fades from 1 at the core to 0, so that
labels change from one tile to the next without a seam. A voxel with any weight lies three quarters of the halo or more
from the cut: if that is at least the receptive field, tiled and untiled answers are equal.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import column_statistics

HALO_VOXELS = 64
ALIGNMENT = 32  # tile origins are multiples of it, so that five halvings of the grid fall as they do untiled

MAX_EXTENT = (1 << 16) - ALIGNMENT  # voxels a side: serialized networks take coordinates below 2**16 - 1


@dataclass(frozen=True)
class Tile:
    """``rows`` int64 (T,) of the voxels in core and halo, ``weights`` float32 (T,), ``origin`` (3,) to subtract."""

    rows: Tensor
    weights: Tensor
    origin: Tensor


def cut(grid_coord: Tensor, max_voxels: int, halo: int = HALO_VOXELS) -> Iterator[Tile]:
    """Tiles of int (V, 3) voxels, of at most ``max_voxels`` each as far as cores of ALIGNMENT a side allow.

    A core is halved along the longer of x and y, at the median of its voxels, until core and halo fit and span less
    than 2**16 voxels. A core is at least as wide as the halo, else most of the work would be halo: if columns are
    too full for that, the halo is halved, down to ALIGNMENT.
    """
    voxels = grid_coord.cpu().numpy()
    low, high = column_statistics.lowest(voxels[:, :2]), column_statistics.highest(voxels[:, :2]) + 1
    for parts in _cut(voxels, np.arange(len(voxels)), low, high, max_voxels, halo):
        yield Tile(*(torch.from_numpy(part).to(grid_coord.device) for part in parts))


def _cut(
    grid_coord: np.ndarray, rows: np.ndarray, low: np.ndarray, high: np.ndarray, max_voxels: int, halo: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    xy = grid_coord[rows, :2]
    in_core = column_statistics.within(xy, low, high)
    if not in_core.any():
        return
    if len(rows) > max_voxels or column_statistics.extent(xy).max() >= MAX_EXTENT:
        for axis in np.argsort(low - high, kind="stable"):
            at = _split(xy[in_core, axis], low[axis], high[axis], halo)
            if at is None:
                continue
            for below in (True, False):
                part_low, part_high = low.copy(), high.copy()
                (part_high if below else part_low)[axis] = at
                reach = column_statistics.within(xy, part_low - halo, part_high + halo)
                yield from _cut(grid_coord, rows[reach], part_low, part_high, max_voxels, halo)
            return
        if halo > ALIGNMENT:
            reach = column_statistics.within(xy, low - halo // 2, high + halo // 2)
            yield from _cut(grid_coord, rows[reach], low, high, max_voxels, halo // 2)
            return
    outside = np.maximum(np.maximum(low - xy, xy - high + 1), 0).max(1)
    weights = np.clip(1 - outside / (halo / 4), 0, 1).astype(np.float32)
    origin = column_statistics.lowest(np.take(grid_coord, rows, axis=0)) // ALIGNMENT * ALIGNMENT
    yield rows, weights, origin


def _split(values: np.ndarray, low: int, high: int, narrowest: int) -> int | None:
    """Multiple of ALIGNMENT nearest to the median that leaves ``narrowest`` on both sides, None if there is none."""
    first, last = -(-(low + narrowest) // ALIGNMENT), (high - narrowest) // ALIGNMENT
    if first > last:
        return None
    return int(np.clip(round(float(np.median(values)) / ALIGNMENT), first, last)) * ALIGNMENT
