"""Which points lie within an area, seen from above."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from app.clouds.area import Area

CHECK_EDGES = 64


def within(xy: Tensor, area: Area, check_cancelled: Callable[[], None] = lambda: None) -> Tensor:
    """bool (N,), whether each point of ``xy`` float64 (N, 2) lies in a polygon of ``area``, and in none of its holes.

    A point is inside if a ray in the direction of +x crosses the rings of a polygon an odd number of times. A point on
    a border counts for one of the two areas that share it. Coordinates that are not finite are outside.
    ``check_cancelled`` is called every so many edges, each of which may look at all points.
    """
    y, order = xy[:, 1].masked_fill(xy[:, 1].isnan(), torch.inf).sort()
    x = xy[:, 0].index_select(0, order)
    is_inside = torch.zeros(len(xy), dtype=torch.bool, device=xy.device)
    heights = y.new_tensor([corner[1] for polygon in area.polygons for ring in polygon for corner in ring])
    found = iter(torch.searchsorted(y, heights).tolist())  # waits for the device
    for polygon in area.polygons:
        rings = [[Corner(*corner, next(found)) for corner in ring] for ring in polygon]
        places = [corner.place for ring in rings for corner in ring]
        first, last = min(places), max(places)
        if first == last:
            continue
        is_odd = torch.zeros(last - first, dtype=torch.bool, device=xy.device)
        for ring in rings:
            _cross(x, y, ring, first, is_odd, check_cancelled)
        is_inside[first:last] |= is_odd
    return torch.zeros_like(is_inside).index_copy_(0, order, is_inside)


class Corner(NamedTuple):
    """A corner of a ring, and the ``place`` of the first point that is not below it."""

    x: float
    y: float
    place: int


def _cross(
    x: Tensor, y: Tensor, ring: list[Corner], first: int, is_odd: Tensor, check_cancelled: Callable[[], None]
) -> None:
    """Turn ``is_odd``, of the points from ``first`` on, where the ray of a point crosses an edge of ``ring``. Points
    ascend by ``y``.

    An edge has its lower end and not its upper one, and is computed from its lower end whichever way it runs, so that
    neighbours agree on it to the bit.
    """
    for number, edge in enumerate(zip(ring, [*ring[1:], ring[0]], strict=True)):
        if number % CHECK_EDGES == 0:
            check_cancelled()
        low, high = sorted(edge, key=lambda corner: (corner.y, corner.x))
        if low.place < high.place:
            part = slice(low.place, high.place)
            slope = (high.x - low.x) / (high.y - low.y)
            is_odd[low.place - first : high.place - first] ^= x[part] < low.x + (y[part] - low.y) * slope
