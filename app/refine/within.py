"""Which points lie within an area, seen from above."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from app.clouds.area import Area, Ring

CHECK_EDGES = 64
FEW_POINTS = 512  # beside an edge: such edges are looked at together
PAIRS = 1 << 18  # of an edge and a point, at a time


class Edges(NamedTuple):
    """E edges of a polygon, on the processor.

    Each is computed from its lower end, whichever way it runs, so that neighbours agree on it to the bit.

    Attributes:
        x, y: float64 (E,), of the lower end.
        slope: float64 (E,), how much x grows with y.
        first, end: int64 (E,), which points are beside an edge, in their order by y: it has its lower end and not its
            upper one.
    """

    x: Tensor
    y: Tensor
    slope: Tensor
    first: Tensor
    end: Tensor

    @classmethod
    def of(cls, polygon: list[Ring], corners: Tensor, places: Tensor) -> "Edges":
        """The edges of a ``polygon`` that points are beside, by its ``corners`` float64 (C, 2), and for each the place
        of the first point that is not below it, int64 (C,)."""
        sizes = torch.tensor([len(ring) for ring in polygon])
        ends = sizes.cumsum(0)
        here = torch.arange(len(corners))
        there = (here + 1).index_copy(0, ends - 1, ends - sizes)
        is_rising = places[here] < places[there]
        low, high = torch.where(is_rising, here, there), torch.where(is_rising, there, here)
        is_beside = places[low] < places[high]
        low, high = low[is_beside], high[is_beside]
        x, y = corners[low].unbind(1)
        width, height = (corners[high] - corners[low]).unbind(1)
        return cls(x, y, width / height, places[low], places[high])

    def only(self, kept: Tensor) -> "Edges":
        """Those where bool ``kept`` (E,) holds."""
        return Edges(*(values[kept] for values in self))

    def parts(self) -> Iterator["Edges"]:
        """Some at a time, about ``PAIRS`` points beside them."""
        part = (self.end - self.first).cumsum(0) // PAIRS
        sizes = part.unique_consecutive(return_counts=True)[1].tolist()
        return (Edges(*each) for each in zip(*(values.split(sizes) for values in self), strict=True))


def within(xy: Tensor, area: Area, check_cancelled: Callable[[], None] = lambda: None) -> Tensor:
    """bool (N,), whether each point of ``xy`` float64 (N, 2) lies in a polygon of ``area``, and in none of its holes.

    A point is inside if a ray in the direction of +x crosses the rings of a polygon an odd number of times. A point on
    a border counts for one of the two areas that share it. Coordinates that are not finite are outside.
    ``check_cancelled`` is called every so many edges, each of which may look at all points.
    """
    y, order = xy[:, 1].masked_fill(xy[:, 1].isnan(), torch.inf).sort()
    x = xy[:, 0].index_select(0, order)
    is_inside = torch.zeros(len(xy), dtype=torch.bool, device=xy.device)
    sizes = [sum(map(len, polygon)) for polygon in area.polygons]
    every = [corner for polygon in area.polygons for ring in polygon for corner in ring]
    corners = torch.from_numpy(np.array(every, np.float64))
    places = torch.searchsorted(y, corners[:, 1].to(y.device).contiguous()).cpu()  # waits for the device
    for polygon, ends, at in zip(area.polygons, corners.split(sizes), places.split(sizes), strict=True):
        check_cancelled()
        first, end = int(at.amin()), int(at.amax())
        if first < end:
            is_odd = torch.zeros_like(is_inside[first:end])
            _cross(x, y, Edges.of(polygon, ends, at), first, is_odd, check_cancelled)
            is_inside[first:end] |= is_odd
    return torch.zeros_like(is_inside).index_copy_(0, order, is_inside)


def _cross(x: Tensor, y: Tensor, edges: Edges, start: int, is_odd: Tensor, check_cancelled: Callable[[], None]) -> None:
    """Turn ``is_odd``, of the points from ``start`` on, where the ray of a point crosses one of ``edges``. Points
    ascend by ``y``."""
    have_few = edges.end - edges.first <= FEW_POINTS
    for part in edges.only(have_few).parts():
        check_cancelled()
        first, end = int(part.first.amin()), int(part.end.amax())
        counts = _crossings(x, y, Edges(*(values.to(x.device) for values in part)), first, end)
        is_odd[first - start : end - start] ^= counts % 2 == 1
    others = zip(*(values.tolist() for values in edges.only(~have_few)), strict=True)
    for number, (low_x, low_y, slope, first, end) in enumerate(others):
        if number % CHECK_EDGES == 0:
            check_cancelled()
        is_odd[first - start : end - start] ^= x[first:end] < low_x + (y[first:end] - low_y) * slope


def _crossings(x: Tensor, y: Tensor, edges: Edges, first: int, end: int) -> Tensor:
    """int64, how many of ``edges`` the ray of each point from ``first`` to ``end`` crosses."""
    numbers = edges.end - edges.first
    edge = torch.arange(len(numbers), device=x.device).repeat_interleave(numbers)
    skipped = numbers.cumsum(0) - numbers - edges.first
    point = torch.arange(len(edge), device=x.device) - skipped[edge]
    is_crossed = x[point] < edges.x[edge] + (y[point] - edges.y[edge]) * edges.slope[edge]
    return (point[is_crossed] - first).bincount(minlength=end - first)
