"""How a file is cut: rectangles of about equally many points, found on a raster of counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.survey.tile import Bounds

SIDE = 512  # cells of the longer side
MAX_RECTANGLES = (1 << 16) - 1


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

    def cells(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """int64 (N,), the cell that each point lies in, counted along y."""
        places = [
            np.clip((values - low) / self.edge, 0, size - 1).astype(np.int64)
            for values, low, size in zip((x, y), self.low, self.shape, strict=True)
        ]
        return places[0] * self.shape[1] + places[1]


@dataclass(frozen=True)
class Cuts:
    """R rectangles that cover all cells of a raster that have points.

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
    def owners(self) -> np.ndarray:
        """uint16 (cells,), the rectangle of each cell that has points."""
        owners = np.zeros(self.raster.shape, np.uint16)
        for number, (low, high) in enumerate(self.corners):
            owners[low[0] : high[0], low[1] : high[1]] = number
        return owners.reshape(-1)

    @cached_property
    def guests(self) -> np.ndarray:
        """int32 (cells, K), the other rectangles whose context the points of each cell may be; -1 for none."""
        reach = int(np.ceil(self.buffer / self.raster.edge)) + 1
        places = np.arange(len(self.owners)).reshape(self.raster.shape)

        def around(number: int) -> np.ndarray:
            low, high = self.corners[number]
            first, last = np.maximum(low - reach, 0), high + reach
            near = places[first[0] : last[0], first[1] : last[1]].reshape(-1)
            return near[self.owners[near] != number]

        num_guests = np.zeros(len(self.owners), np.int64)
        for number in range(len(self)):
            num_guests[around(number)] += 1
        guests = np.full((len(self.owners), num_guests.max(initial=0)), -1, np.int32)
        num_guests[:] = 0
        for number in range(len(self)):
            near = around(number)
            guests[near, num_guests[near]] = number
            num_guests[near] += 1
        return guests

    @cached_property
    def num_guests(self) -> np.ndarray:
        """int64 (cells,), how many those are."""
        return (self.guests >= 0).sum(1)

    def blocks(self, cells: np.ndarray, most: int) -> Iterator[slice]:
        """The points in ``cells`` (N,), as many at a time as may be context at most ``most`` times, or one."""
        times = np.cumsum(self.num_guests[cells])
        first, done = 0, 0
        while first < len(cells):
            end = max(first + 1, int(np.searchsorted(times, done + most, side="right")))
            yield slice(first, end)
            first, done = end, int(times[end - 1])

    def context(self, x: np.ndarray, y: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (M,) of rectangles, and of points that are context of them, in the order of the points."""
        found = [(np.empty(0, np.int32), np.empty(0, np.int64))]
        for numbers in self.guests.T:
            rows = np.flatnonzero(numbers[cells] >= 0)
            others = numbers[cells[rows]]
            low, high = self.places[others, 0] - self.buffer, self.places[others, 1] + self.buffer
            places = np.column_stack([x[rows], y[rows]])
            near = ((places >= low) & (places <= high)).all(1)
            found.append((others[near], rows[near]))
        numbers, rows = (np.concatenate(each) for each in zip(*found, strict=True))
        order = np.argsort(rows, kind="stable")
        return numbers[order], rows[order]


def cut(raster: Raster, counts: np.ndarray, most: int, buffer: float) -> Cuts:
    """Rectangles of at most ``most`` points each, as far as cells allow, by the ``counts`` (cells,) of points.

    All is halved across its longer side, where half of its points are on either side, and so are the halves.
    """
    table = counts.reshape(raster.shape)
    corners = list(_halved(table, np.zeros(2, int), np.array(raster.shape), most))
    return Cuts(raster, np.array(corners).reshape(-1, 2, 2), buffer)


def _halved(
    counts: np.ndarray, low: np.ndarray, high: np.ndarray, most: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    inside = counts[low[0] : high[0], low[1] : high[1]]
    if not inside.any():
        return
    if inside.sum() <= most or inside.size == 1:
        yield low, high
        return
    axis = int(np.argmax(high - low))
    below = inside.sum(1 - axis).cumsum()
    at = low.copy()
    at[axis] += np.clip(np.searchsorted(below, below[-1] / 2) + 1, 1, len(below) - 1)
    middle_high, middle_low = high.copy(), low.copy()
    middle_high[axis] = middle_low[axis] = at[axis]
    yield from _halved(counts, low, middle_high, most)
    yield from _halved(counts, middle_low, high, most)
