"""How a file is cut: rectangles of about equally many points, found on a raster of counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from app.clouds.cloud import Bounds

SIDE = 1024  # cells of the longer side
MAX_RECTANGLES = (1 << 16) - 1
NARROW = 1 << 16  # blocks that two bytes number


class Raster:
    """Square cells over a box, seen from above. What lies outside belongs to the cells at its edge."""

    def __init__(self, bounds: Bounds):
        self.low, high = np.array(bounds, np.float64).reshape(2, 3)[:, :2]
        self.edge = max(float((high - self.low).max()) / SIDE, 1e-9)
        columns, rows = (np.floor((high - self.low) / self.edge) + 1).astype(int).tolist()
        self.shape = (columns, rows)

    @property
    def num_cells(self) -> int:
        """Of all."""
        return self.shape[0] * self.shape[1]

    def reach(self, buffer: float) -> int:
        """How many cells around a cell may have points within ``buffer`` of it."""
        return int(np.ceil(buffer / self.edge)) + 1 if buffer > 0 else 0

    def cells(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """int64 (N,), the cell that each point lies in, counted along y."""
        places = [
            np.clip((values - low) / self.edge, 0, size - 1).astype(np.int64)
            for values, low, size in zip((x, y), self.low, self.shape, strict=True)
        ]
        return places[0] * self.shape[1] + places[1]


@dataclass(frozen=True)
class Cuts:
    """R rectangles that cover all cells of a raster that have points, each cut into up to nine blocks.

    A block is the middle of a rectangle, or what lies at one of its edges or corners, so near that it may be context of
    what is beyond. The B blocks are numbered one rectangle after the other.

    Attributes:
        raster: the cells.
        corners: int64 (R, 2, 2), first column and row, and those behind the last.
        buffer: how far around a rectangle its context reaches, in the units of the raster.
    """

    raster: Raster
    corners: np.ndarray
    buffer: float

    def __len__(self) -> int:
        return len(self.corners)

    @cached_property
    def places(self) -> np.ndarray:
        """float64 (R, 2, 2), lowest x and y, and greatest."""
        return self.raster.low + self.corners * self.raster.edge

    def boxes(self, bounds: Bounds) -> list[Bounds]:
        """The boxes of the rectangles, as low and as high as ``bounds``."""
        return [(*low, bounds[2], *high, bounds[5]) for low, high in self.places.tolist()]

    @cached_property
    def _numbered_blocks(self) -> np.ndarray:
        """int64 (B, 5), rectangle, first column and row, and those behind the last."""
        reach = self.raster.reach(self.buffer)
        found = [
            (number, left, low, right, high)
            for number, (first, end) in enumerate(self.corners.tolist())
            for left, right in pairwise(_lines(first[0], end[0], reach))
            for low, high in pairwise(_lines(first[1], end[1], reach))
        ]
        return np.array(found, np.int64).reshape(-1, 5)

    @property
    def owners(self) -> np.ndarray:
        """int64 (B,), the rectangle of each block, ascending."""
        return self._numbered_blocks[:, 0]

    @property
    def blocks(self) -> np.ndarray:
        """int64 (B, 2, 2), as ``corners``."""
        return self._numbered_blocks[:, 1:].reshape(-1, 2, 2)

    @cached_property
    def block_of(self) -> np.ndarray:
        """uint16 or uint32 (cells,), the block of each cell that has points."""
        found = np.zeros(self.raster.shape, np.uint16 if len(self.blocks) <= NARROW else np.uint32)
        for number, (low, high) in enumerate(self.blocks.tolist()):
            found[low[0] : high[0], low[1] : high[1]] = number
        return found.reshape(-1)

    def around(self, number: int) -> np.ndarray:
        """int64 (K,), the blocks of other rectangles that may have context of the rectangle ``number``."""
        if self.buffer <= 0:
            return np.empty(0, np.int64)
        reach = self.raster.reach(self.buffer)
        low, high = self.corners[number]
        is_near = ((self.blocks[:, 1] > low - reach) & (self.blocks[:, 0] < high + reach)).all(1)
        return np.flatnonzero(is_near & (self.owners != number))

    def is_near(self, number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """bool (N,), whether points are within the buffer of the rectangle ``number``."""
        (low_x, low_y), (high_x, high_y) = self.places[number] + [[-self.buffer], [self.buffer]]
        return (x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y)


def cut(raster: Raster, counts: np.ndarray, most: int, buffer: float) -> Cuts:
    """Rectangles that have at most about ``most`` points with their context, as far as cells allow, by the ``counts``
    (cells,) of points; or a quarter of that, however many are around it.

    All is halved across its longer side, where half of its points are on either side, and so are the halves.
    """
    table = counts.reshape(raster.shape)
    corners = list(_halved(table, np.zeros(2, int), np.array(raster.shape), most, buffer / raster.edge))
    return Cuts(raster, np.array(corners).reshape(-1, 2, 2), buffer)


def _lines(first: int, end: int, reach: int) -> list[int]:
    """Where cells from ``first`` to ``end`` are cut into those within ``reach`` of either end, and the rest."""
    near = min(first + reach, end)
    return sorted({first, near, max(near, end - reach), end})


def _halved(
    counts: np.ndarray, low: np.ndarray, high: np.ndarray, most: int, buffer: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    inside = counts[low[0] : high[0], low[1] : high[1]]
    num_points = inside.sum()
    if not num_points:
        return
    if num_points <= most // 4 or _within(counts, low, high, buffer) <= most or inside.size == 1:
        yield low, high
        return
    axis = int(np.argmax(high - low))
    below = inside.sum(1 - axis).cumsum()
    at = low.copy()
    at[axis] += np.clip(np.searchsorted(below, below[-1] / 2) + 1, 1, len(below) - 1)
    middle_high, middle_low = high.copy(), low.copy()
    middle_high[axis] = middle_low[axis] = at[axis]
    yield from _halved(counts, low, middle_high, most, buffer)
    yield from _halved(counts, middle_low, high, most, buffer)


def _within(counts: np.ndarray, low: np.ndarray, high: np.ndarray, buffer: float) -> float:
    """How many points are within ``buffer`` of a rectangle, all in cells, if points are alike all over a cell."""

    def inside(reach: int) -> float:
        first, last = np.maximum(low - reach, 0), high + reach
        return float(counts[first[0] : last[0], first[1] : last[1]].sum())

    whole = int(buffer)
    return inside(whole) + (buffer - whole) * (inside(whole + 1) - inside(whole))
