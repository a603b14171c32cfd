"""Noise below the terrain, which is left out before anything is measured from what lies lowest."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .cells import Cells
from .neighbours import nearest
from .raster import eroded
from .sample import Sample, box, take
from .support import support, support_reach_m


def drop_noise_below(
    sample: Sample,
    support_cell_m: Sequence[float],
    least_support: float,
    cell_m: float,
    radius_m: float,
    depth_m: float,
) -> Sample:
    """``DropNoiseBelow``: leaves out points that have little support and lie below all around that has more.

    A point is left out if its ``support``, in boxes of ``support_cell_m``, is less than ``least_support``, and it lies
    more than ``depth_m`` below the lowest point of that support within ``radius_m``, seen from above in cells of
    ``cell_m``. If there are any, adds ``noise`` bool (N,), which points they are, and ``inverse`` int64 (N,), the new
    row of each point: of one left out, that of the nearest of those that lie lowest in each cell.
    """
    coord = sample["coord"].double()
    is_weak = support(sample, support_cell_m)["support"][:, 0] < least_support
    cells = Cells.of(coord, cell_m, radius_m, box(sample)[0])
    terrain = eroded(cells.lowest(coord[:, 2].masked_fill(is_weak, torch.inf)), cells.window(radius_m))
    is_noise = is_weak & (cells.height_over(terrain, coord[:, 2]) < -depth_m)
    dropped = is_noise.nonzero().flatten()
    if not len(dropped):
        return sample
    is_kept = ~is_noise
    inverse = is_kept.cumsum(0) - 1
    lowest = _lowest(cells, coord[:, 2].masked_fill(is_noise, torch.inf))
    places, queries = (sample["coord"].float().index_select(0, rows) for rows in (lowest, dropped))
    inverse[dropped] = inverse.index_select(0, lowest).index_select(0, nearest(places, queries))
    return take(sample, is_kept.nonzero().flatten()) | {"inverse": inverse, "noise": is_noise}


def noise_below_reach_m(
    support_cell_m: Sequence[float], cell_m: float, radius_m: float, **others: float | None
) -> float:
    """How far around a point ``DropNoiseBelow`` looks to decide on it."""
    return support_reach_m(support_cell_m) + radius_m + 2 * cell_m


def _lowest(cells: Cells, z: Tensor) -> Tensor:
    """int64 (L,), the point of least ``z`` (N,) in each cell where that is finite, of equal ones the first."""
    is_lowest = z.isfinite() & (z == cells.lowest(z).flatten().index_select(0, cells.places))
    rows = is_lowest.nonzero().flatten()
    first = rows.new_full((cells.shape[0] * cells.shape[1],), len(z))
    first.scatter_reduce_(0, cells.places.index_select(0, rows), rows, "amin")
    return first[first < len(z)]
