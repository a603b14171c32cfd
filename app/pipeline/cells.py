"""The cells of a raster, seen from above, that points lie in."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_RASTER_CELLS = 1 << 23  # 5.8 km a side in cells of 2 m


@dataclass(frozen=True)
class Cells:
    """Which cell of a raster each of N points lies in.

    Attributes:
        shape: columns and rows of the raster.
        places: int64 (N,), the cell of each point, counted along the raster's rows.
        edge_m: of a cell.
    """

    shape: tuple[int, int]
    places: Tensor
    edge_m: float

    @classmethod
    def of(
        cls,
        coord: Tensor,
        edge_m: float,
        reach_m: float,
        corner: Tensor | None = None,
        most: int | None = None,
    ) -> "Cells":
        """The cells, of ``edge_m`` by ``edge_m``, of points ``coord`` float64 (N, 3), N > 0.

        They begin at multiples of their edge from ``corner`` (3,), or from the lowest x and y without one.

        If the raster would have more than ``most`` cells (``MAX_RASTER_CELLS``), empty columns and rows wider than
        filters of radius ``reach_m`` look across are left out of it, which changes no height; the edge is doubled until
        that suffices.
        """
        most = most or MAX_RASTER_CELLS
        across = coord[:, :2].unbind(1)
        low, high = torch.stack([torch.stack(torch.aminmax(axis)) for axis in across], 1)
        begin = low if corner is None else corner[:2].double()
        low, high, begin = torch.stack([low, high, begin]).tolist()
        while True:
            edge = coord.new_full((), edge_m)  # a GPU would multiply by 1 / a Python number
            first = [math.floor((least - zero) / edge_m) for least, zero in zip(low, begin, strict=True)]
            index = [
                ((axis - zero) / edge).floor_().long().sub_(start)
                for axis, zero, start in zip(across, begin, first, strict=True)
            ]
            shape = [
                math.floor((last - zero) / edge_m) - start + 1
                for last, zero, start in zip(high, begin, first, strict=True)
            ]
            if shape[0] * shape[1] > most:
                gap = _window(reach_m, edge_m) + 4  # an opening looks two radii far, from what a 5 by 5 filter filled
                index = [_without_gaps(each, gap) for each in index]
                shape = [int(each.amax()) + 1 for each in index]
            if shape[0] * shape[1] <= most:
                return cls((shape[0], shape[1]), index[0] * shape[1] + index[1], edge_m)
            edge_m *= 2

    def window(self, radius_m: float) -> int:
        """Cells that a filter of that radius is wide."""
        return _window(radius_m, self.edge_m)

    def lowest(self, z: Tensor) -> Tensor:
        """float64 raster, the lowest ``z`` (N,) of each cell, inf for an empty one."""
        raster = z.new_full((self.shape[0] * self.shape[1],), torch.inf)
        return raster.scatter_reduce_(0, self.places, z, "amin").view(self.shape)

    def height_over(self, surface: Tensor, z: Tensor) -> Tensor:
        """Height of each point over the raster ``surface`` in its cell, 0 if that is not finite."""
        return (z - surface.flatten().index_select(0, self.places)).nan_to_num_(0, 0, 0)


def _window(radius_m: float, edge_m: float) -> int:
    return 2 * max(1, round(radius_m / edge_m)) + 1


def _without_gaps(index: Tensor, gap: int) -> Tensor:
    """``index`` (N,) counted from 0, with gaps between occupied values shortened to ``gap``; the order stays."""
    occupied, inverse = index.unique(return_inverse=True)
    steps = occupied.diff(prepend=occupied.new_zeros(1)).clamp_(max=gap)
    return steps.cumsum(0).index_select(0, inverse)
