"""The octree of a COPC file: which node each point goes to, so that all nodes down to a level are an even sample."""

from dataclasses import dataclass

import numpy as np

AXIS_BITS = 21  # of a place along an axis of the cube
GRID_BITS = 7  # a node keeps one point of each of its 128**3 cells
MAX_LEVEL = AXIS_BITS - GRID_BITS
LEAF_POINTS = 50_000  # a node with no more points than these below it keeps them all
LEVEL_SHIFT = np.uint64(3 * AXIS_BITS - 15)
BYTES_A_POINT = 80  # that ``build`` takes beside its arguments, about


@dataclass(frozen=True)
class Octree:
    """Nodes of a cube that is halved along each axis from level to level.

    Attributes:
        center: float64 (3,), of the cube.
        half: half of an edge of the cube; it holds every point in the arithmetic of float64 too.
        spacing: about how far the points of the root are from each other.
        keys: int32 (M, 4), level, x, y and z of each node that has points: by level, then along the Morton curve.
        counts: int64 (M,), points of each node.
        order: int64 (N,), the points node by node, those of a node in the order in which they came; None if all are in
            the order of the nodes.
    """

    center: np.ndarray
    half: float
    spacing: float
    keys: np.ndarray
    counts: np.ndarray
    order: np.ndarray | None


def build(raw: list[np.ndarray], scale: np.ndarray, offset: np.ndarray) -> Octree:
    """The octree of N points, at least one, with coordinates ``raw`` (x, y, z; int32 (N,) each) times ``scale`` plus
    ``offset``.

    A node with many points below it keeps one of each of its cells, which is chosen by the number of the cell; its
    other points go to its children. So a node is never empty, and the same points make the same tree.
    """
    center, half, codes = _placed(raw, scale, offset)
    by_code = np.argsort(codes, kind="stable")
    levels = np.empty(len(codes), np.uint8)
    levels[by_code] = _levels(codes[by_code])
    shifts = np.uint64(3) * (np.uint64(AXIS_BITS) - levels.astype(np.uint64))
    nodes = (levels.astype(np.uint64) << LEVEL_SHIFT) | (codes >> shifts)
    order = np.argsort(nodes, kind="stable")
    starts, counts = _runs(nodes[order])
    found = nodes[order[starts]]
    level = found >> LEVEL_SHIFT
    place = found & ((np.uint64(1) << LEVEL_SHIFT) - np.uint64(1))
    keys = np.stack([level, *(_gathered(place >> np.uint64(axis)) for axis in range(3))], axis=1).astype(np.int32)
    return Octree(center, half, 2 * half / (1 << GRID_BITS), keys, counts, order)


def _placed(raw: list[np.ndarray], scale: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Center and half of an edge of the cube, and the Morton code of each point in it, uint64 (N,).

    The cube begins at the least coordinates and is as long as the longest axis: some readers take that for granted.
    """
    ends = np.array([[int(axis.min()), int(axis.max())] for axis in raw], np.int64)
    nearest = np.where(scale > 0, ends[:, 0], ends[:, 1])
    extents = (ends[:, 1] - ends[:, 0]) * np.abs(scale)
    unit = max(float(np.abs(scale).min()), float(extents.max()) / 2**32)
    side = max(1, round(float(extents.max()) / unit))  # in whole units, so that no rounding moves a point
    codes = np.zeros(len(raw[0]), np.uint64)
    for number, axis in enumerate(raw):
        place = np.floor(np.abs(axis - nearest[number]) * (abs(scale[number]) / unit) + 1e-6).astype(np.int64)
        place = np.minimum((place << AXIS_BITS) // side, (1 << AXIS_BITS) - 1)
        codes |= _spread(place.astype(np.uint64)) << np.uint64(number)
    low, high = nearest * scale + offset, (ends.sum(axis=1) - nearest) * scale + offset
    half = side * unit / 2
    center = low + half
    half = max(half, float((center - low).max()), float((high - center).max()))
    if (center - half > low).any() or (center + half < high).any():
        half += float(np.spacing(np.abs(center).max() + half))
    return center, half, codes


def _levels(codes: np.ndarray) -> np.ndarray:
    """The level of each of the points with the ascending ``codes``, uint8 (N,)."""
    levels = np.empty(len(codes), np.uint8)
    left = np.arange(len(codes))
    for level in range(MAX_LEVEL + 1):
        here = codes[left]
        _, counts = _runs(here >> np.uint64(3 * (AXIS_BITS - level)))
        is_taken = np.repeat((counts <= LEAF_POINTS) | (level == MAX_LEVEL), counts)
        cells = here >> np.uint64(3 * (MAX_LEVEL - level))
        starts, counts = _runs(cells)
        is_taken[starts + (_mixed(cells[starts]) % counts.astype(np.uint64)).astype(np.int64)] = True
        levels[left[is_taken]] = level
        left = left[~is_taken]
        if not len(left):
            break
    return levels


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each run of equal ``values`` begins, and its length."""
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    return starts, np.diff(starts, append=len(values))


def _mixed(values: np.ndarray) -> np.ndarray:
    """Numbers that look like chance, uint64, each from one of ``values``: the finalizer of splitmix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_STEPS = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


def _spread(values: np.ndarray) -> np.ndarray:
    """``values`` of 21 bits with two zeros before each bit."""
    for shift, mask in _STEPS:
        values = (values | (values << np.uint64(shift))) & np.uint64(mask)
    return values


def _gathered(values: np.ndarray) -> np.ndarray:
    """Every third bit of ``values``, the inverse of ``_spread``."""
    values = values & np.uint64(_STEPS[-1][1])
    masks = [mask for _, mask in _STEPS[-2::-1]] + [(1 << AXIS_BITS) - 1]
    for (shift, _), mask in zip(reversed(_STEPS), masks, strict=True):
        values = (values | (values >> np.uint64(shift))) & np.uint64(mask)
    return values
