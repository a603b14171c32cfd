"""Which points lie within an area, seen from above."""

from collections.abc import Callable

import torch
from torch import Tensor

from app.clouds.area import Area, Ring

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
    extents = y.new_tensor([_extent(polygon) for polygon in area.polygons]).t().contiguous()
    firsts = torch.searchsorted(y, extents[1]).tolist()  # waits for the device
    lasts = torch.searchsorted(y, extents[3], right=True).tolist()
    for polygon, low_x, high_x, first, last in zip(area.polygons, *extents[::2].tolist(), firsts, lasts, strict=True):
        check_cancelled()
        part = x[first:last]
        rows = first + ((part >= low_x) & (part <= high_x)).nonzero().flatten()
        if not len(rows):
            continue
        near_x, near_y, is_odd = x[rows], y[rows], torch.zeros_like(rows, dtype=torch.bool)
        for ring in polygon:
            _cross(near_x, near_y, ring, is_odd, check_cancelled)
        is_inside[rows] |= is_odd
    return torch.zeros_like(is_inside).index_copy_(0, order, is_inside)


def _extent(polygon: list[Ring]) -> tuple[float, float, float, float]:
    """Least x and y, greatest x and y of ``polygon``, none of whose points are beyond."""
    x, y = zip(*(point for ring in polygon for point in ring), strict=True)
    return min(x), min(y), max(x), max(y)


def _cross(x: Tensor, y: Tensor, ring: Ring, is_odd: Tensor, check_cancelled: Callable[[], None]) -> None:
    """Turn ``is_odd`` where the ray of a point, of ascending ``y``, crosses an edge of ``ring``.

    An edge has its lower end and not its upper one, and is computed from its lower end whichever way it runs, so that
    neighbours agree on it to the bit.
    """
    pairs = zip(ring, [*ring[1:], ring[0]], strict=True)
    edges = [sorted(pair, key=lambda end: (end[1], end[0])) for pair in pairs]
    ends = y.new_tensor([end[1] for edge in edges for end in edge])
    places = torch.searchsorted(y, ends).tolist()  # waits for the device, once a ring
    for number, ((low, high), begin, end) in enumerate(zip(edges, places[::2], places[1::2], strict=True)):
        if number % CHECK_EDGES == 0:
            check_cancelled()
        if begin < end:
            part = slice(begin, end)
            slope = (high[0] - low[0]) / (high[1] - low[1])
            is_odd[part] ^= x[part] < low[0] + (y[part] - low[1]) * slope
