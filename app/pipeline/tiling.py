"""Cuts a large set of voxels into overlapping tiles, with the weights by which their outputs are joined.

A tile is a core, a rectangle of voxel columns, with a halo around it. The cores cover every voxel once. The outer
three quarters of the halo are context only; in the inner quarter a tile's weight fades from 1 at the core to 0, so that
labels change from one tile to the next without a seam. A voxel with any weight lies three quarters of the halo or more
from the cut: if that is at least the receptive field, tiled and untiled answers are equal.

All cuts are made on the processor, on the number of voxels in each cell of columns, which the device counts once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

HALO_VOXELS = 64
ALIGNMENT_BITS = 5
ALIGNMENT = (
    1 << ALIGNMENT_BITS
)  # tile origins are multiples of it, so that five halvings of the grid fall as they do untiled

MAX_EXTENT = (1 << 16) - ALIGNMENT  # voxels a side: serialized networks take coordinates below 2**16 - 1
MAX_COUNTED = 1 << 22  # cells that are counted in a raster; if there were more, their numbers are sorted
MIDDLE = ALIGNMENT // 2


@dataclass(frozen=True)
class Tile:
    """``rows`` int64 (T,) of the voxels in core and halo, ``weights`` float32 (T,), ``origin`` (3,) to subtract.

    ``is_part`` is False for the one tile of all voxels.
    """

    rows: Tensor
    weights: Tensor
    origin: Tensor
    is_part: bool = True


@dataclass(frozen=True)
class _Core:
    """The columns from ``low`` (2,) to below ``high`` (2,), and the width of the halo around them."""

    low: np.ndarray
    high: np.ndarray
    halo: int


def cut(grid_coord: Tensor, max_voxels: int, halo: int = HALO_VOXELS) -> Iterator[Tile]:
    """Tiles of int64 (V, 3) voxels, of at most ``max_voxels`` each as far as cores of ALIGNMENT a side allow.

    A core is halved along the longer of x and y, at the median of its voxels, until core and halo fit and span less
    than 2**16 voxels. A core is at least as wide as the halo, else most of the work would be halo: if columns are
    too full for that, the halo is halved, down to ALIGNMENT, of which ``halo`` is a multiple.
    """
    bounds = torch.stack(grid_coord.aminmax(dim=0))
    low, high = bounds.cpu().numpy()
    if len(grid_coord) <= max_voxels and (high - low)[:2].max() < MAX_EXTENT:
        rows = torch.arange(len(grid_coord), device=grid_coord.device)
        yield Tile(rows, torch.ones_like(rows, dtype=torch.float32), _aligned(bounds[0]), is_part=False)
        return
    low, high = low[:2], high[:2] + 1
    x, y, z = grid_coord.unbind(1)
    places, counts = _count(x, y, low, high)
    for core in _cores(places, counts, _Core(low, high, halo), max_voxels):
        outside = torch.maximum(_outside(x, core, 0), _outside(y, core, 1))
        rows = (outside <= core.halo).nonzero().flatten()
        weights = (1 - outside[rows] / (core.halo / 4)).clamp_(0, 1)
        yield Tile(rows, weights, _aligned(torch.stack([axis[rows].amin() for axis in (x, y, z)])))


def _aligned(coord: Tensor) -> Tensor:
    return coord >> ALIGNMENT_BITS << ALIGNMENT_BITS


def _outside(values: Tensor, core: _Core, axis: int) -> Tensor:
    """How far each of ``values`` (V,) along ``axis`` lies outside of the core, 0 within."""
    return (values - values.clamp(int(core.low[axis]), int(core.high[axis]) - 1)).abs_()


def _count(x: Tensor, y: Tensor, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells with voxels in them: the middle of each, float64 (M, 2), and how many voxels it has, int64 (M,).

    All voxels lie from ``low`` (2,) to below ``high`` (2,). An axis is divided at the multiples of ALIGNMENT, and the
    middle of two of them is a cell of its own, so that the cells tell to which multiple a median is nearest.
    """
    first = low // ALIGNMENT
    sides = 3 * ((high - 1) // ALIGNMENT + 1 - first)
    keys = _cells(x, first[0]).mul_(int(sides[1])).add_(_cells(y, first[1]))
    if sides.prod() <= MAX_COUNTED:
        counted = torch.bincount(keys)
        occupied = counted.nonzero().flatten()
        counts = counted[occupied]
    else:
        occupied, counts = keys.unique(return_counts=True)
    found = torch.stack([occupied, counts]).cpu().numpy()
    cells = np.column_stack(np.divmod(found[0], sides[1]))
    middles = np.array([MIDDLE / 2 - 0.5, MIDDLE, MIDDLE * 1.5])[cells % 3]
    return np.clip((cells // 3 + first) * ALIGNMENT + middles, low, high - 1), found[1]


def _cells(values: Tensor, first: int) -> Tensor:
    """int64 (V,), the number of the cell of each of ``values`` along an axis, from that of ``first * ALIGNMENT``."""
    within = values & (ALIGNMENT - 1)
    cells = (values >> ALIGNMENT_BITS).sub_(int(first)).mul_(3)
    return cells.add_(within >= MIDDLE).add_(within > MIDDLE)


def _cores(places: np.ndarray, counts: np.ndarray, core: _Core, max_voxels: int) -> Iterator[_Core]:
    """The cores that ``core`` is halved into, by the cells of it and of its halo."""
    low, high, halo = core.low, core.high, core.halo
    in_core = ((places >= low) & (places < high)).all(1)
    if not in_core.any():
        return
    extent = np.ptp(places, axis=0).max() + MIDDLE
    if counts.sum() > max_voxels or extent >= MAX_EXTENT:
        for axis in np.argsort(low - high, kind="stable"):
            at = _split(places[in_core, axis], counts[in_core], low[axis], high[axis], halo)
            if at is None:
                continue
            for below in (True, False):
                part = _Core(low.copy(), high.copy(), halo)
                (part.high if below else part.low)[axis] = at
                yield from _cores(*_reached(places, counts, part), part, max_voxels)
            return
        if halo > ALIGNMENT:
            narrower = _Core(low, high, halo // 2)
            yield from _cores(*_reached(places, counts, narrower), narrower, max_voxels)
            return
    yield core


def _reached(places: np.ndarray, counts: np.ndarray, core: _Core) -> tuple[np.ndarray, np.ndarray]:
    reach = ((places >= core.low - core.halo) & (places < core.high + core.halo)).all(1)
    return places[reach], counts[reach]


def _split(places: np.ndarray, counts: np.ndarray, low: int, high: int, narrowest: int) -> int | None:
    """Multiple of ALIGNMENT nearest to the median that leaves ``narrowest`` on both sides, None if there is none."""
    first, last = -(-(low + narrowest) // ALIGNMENT), (high - narrowest) // ALIGNMENT
    if first > last:
        return None
    order = np.argsort(places, kind="stable")
    num_below = counts[order].cumsum()
    halves = (num_below[-1] - 1) // 2, num_below[-1] // 2
    median = places[order[np.searchsorted(num_below, halves, side="right")]].mean()
    return int(np.clip(round(float(median) / ALIGNMENT), first, last)) * ALIGNMENT
