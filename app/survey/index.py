"""Who is whose neighbour in a survey, and in which order its tiles go.

It is held in arrays of numbers, by the place of a tile in the survey, so that a million tiles take about 100 MB.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from app.survey.tile import Tile

MAX_LEVELS = 40
CHUNK = 1 << 14  # boxes that are joined with others at once
HILBERT_BITS = 16
UNIT_DIGITS = 9


@dataclass
class Group:
    """Tiles that may be each other's neighbours: of one coordinate system and unit.

    ``crs`` and ``metres_per_unit`` are as in ``Tile``, the latter of its first tile.
    """

    crs: str
    metres_per_unit: tuple[float, float] | None
    num_tiles: int = 0


@dataclass(frozen=True)
class Index:
    """The plan of N tiles, which are numbered as they came.

    Attributes:
        order: int32 (N,), every number once: group by group, along a Hilbert curve through the middles of the tiles;
            those without bounds last.
        groups: by the order of their first tiles.
        group_of: int32 (N,), the place of each tile's group in ``groups``.
    """

    order: np.ndarray
    groups: list[Group]
    group_of: np.ndarray
    _starts: np.ndarray = field(repr=False)
    _neighbours: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.order)

    def neighbours(self, number: int) -> np.ndarray:
        """The numbers of the tiles within the buffer of a tile, int32, ascending."""
        found: np.ndarray = self._neighbours[self._starts[number] : self._starts[number + 1]]
        return found

    def warnings(self) -> list[str]:
        """What of the survey's coordinate systems keeps tiles from being neighbours, one sentence each."""
        if len(self.groups) < 2:
            return []
        named = [f"{_named(group)} ({group.num_tiles:,})" for group in self.groups[:8]]
        more = f" and {len(self.groups) - 8:,} more" if len(self.groups) > 8 else ""
        return [
            "The tiles have different coordinate systems or units, and only those of the same give each other context: "
            f"{', '.join(named)}{more}."
        ]


def index(tiles: Iterable[Tile], buffer_m: float) -> Index:
    """The plan of ``tiles``, where those are neighbours that come within ``buffer_m`` of each other in x and in y.

    Without a buffer, 0, there are no neighbours. Tiles without bounds have none.
    """
    groups: dict[object, tuple[int, Group]] = {}
    group_of = array("i")
    boxes = array("d")
    for tile in tiles:
        number, group = groups.setdefault(_key(tile), (len(groups), Group(tile.crs, tile.metres_per_unit)))
        group.num_tiles += 1
        group_of.append(number)
        reach = 0.5 * buffer_m / (tile.metres_per_unit or (1.0,))[0]
        low_x, low_y, _, high_x, high_y, _ = tile.bounds or (np.nan,) * 6
        boxes.extend((low_x - reach, low_y - reach, high_x + reach, high_y + reach))
    of = np.frombuffer(group_of, np.int32) if group_of else np.zeros(0, np.int32)
    all_boxes = np.frombuffer(boxes, np.float64).reshape(-1, 4) if boxes else np.zeros((0, 4))
    placed = ~np.isnan(all_boxes[:, 0])
    order, pairs = [], []
    by_group = np.argsort(of, kind="stable").astype(np.int32)
    bounds = np.searchsorted(of[by_group], np.arange(len(groups) + 1))
    for start, stop in pairwise(bounds):
        members = by_group[start:stop]
        members = members[placed[members]]
        order.append(members[_along_curve(all_boxes[members])])
        if buffer_m > 0 and len(members) > 1:
            pairs += [members[found] for found in _close_pairs(all_boxes[members])]
    order.append(np.flatnonzero(~placed).astype(np.int32))
    starts, neighbours = _by_tile(pairs, len(of))
    return Index(np.concatenate(order), [group for _, group in groups.values()], of, starts, neighbours)


def _key(tile: Tile) -> object:
    """What tiles of one group share: the unit of z, and the coordinate system, or the unit of x and y if it has none.

    A system decides on these, but its degrees have other metres at every latitude.
    """
    of_xy, of_z = (f"{each:.{UNIT_DIGITS}g}" for each in tile.metres_per_unit or (0.0, 0.0))
    return tile.crs or of_xy, of_z


def _named(group: Group) -> str:
    name = group.crs if len(group.crs) <= 40 else group.crs.split('"')[1] if '"' in group.crs else group.crs[:40]
    unit = (
        f", unit of {group.metres_per_unit[0]:g} m" if group.metres_per_unit and group.metres_per_unit[0] != 1 else ""
    )
    return (name or "none stated") + unit


def _close_pairs(boxes: np.ndarray) -> Iterator[np.ndarray]:
    """Every pair of ``boxes`` (N, 4: low x, low y, high x, high y) that touch or overlap, once, as (2, P) numbers.

    Boxes are laid into grids, one for each size by powers of two, whose cells are as large as the boxes: so each is in
    four cells at most. Each grid is joined with the boxes of its own size and of every smaller one.
    """
    origin = boxes[:, :2].min(0)
    low, high = boxes[:, :2] - origin, boxes[:, 2:] - origin
    sizes = (high - low).max(1)
    least = max(float(np.median(sizes)) * 2.0**-8, float(high.max()) * 2.0**-30, 1e-9)
    levels = np.ceil(np.log2(np.maximum(sizes, least) / least)).astype(np.int64)
    for level in np.unique(levels):
        cell = least * 2.0 ** float(level)
        keys, held = _cells(low, high, cell, np.flatnonzero(levels == level))
        by_key = np.argsort(keys, kind="stable")
        keys, held = keys[by_key], held[by_key]
        smaller = np.flatnonzero(levels <= level)
        for start in range(0, len(smaller), CHUNK):
            key, query = _cells(low, high, cell, smaller[start : start + CHUNK])
            first, last = np.searchsorted(keys, key), np.searchsorted(keys, key, side="right")
            counts = last - first
            row = np.repeat(np.arange(len(key)), counts)
            a = query[row]
            b = held[np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + first[row]]
            once = (levels[a] < level) | (a < b)
            a, b, key = a[once], b[once], key[row[once]]
            corner = np.maximum(low[a], low[b])
            meet = (corner <= np.minimum(high[a], high[b])).all(1)
            meet &= _cell_keys(np.floor(corner / cell).astype(np.int64)) == key
            yield np.stack([a[meet], b[meet]])


def _cells(low: np.ndarray, high: np.ndarray, cell: float, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells that boxes of at most a cell's size are in: keys, and the number of the box for each."""
    first = np.floor(low[members] / cell).astype(np.int64)
    last = np.floor(high[members] / cell).astype(np.int64)
    keys, held = [], []
    for x in (0, 1):
        for y in (0, 1):
            at = first + np.array([x, y])
            inside = (at <= last).all(1)
            keys.append(_cell_keys(at[inside]))
            held.append(members[inside].astype(np.int32))
    return np.concatenate(keys), np.concatenate(held)


def _cell_keys(at: np.ndarray) -> np.ndarray:
    return (at[:, 0] << 31) | at[:, 1]


def _by_tile(pairs: list[np.ndarray], num_tiles: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the neighbours of each tile begin, int64 (N + 1,), and the neighbours, int32; pairs go both ways."""
    ways = [way for pair in pairs for way in (pair, pair[::-1])]
    keys = np.concatenate([(way[0].astype(np.int64) << 32) | way[1] for way in ways] or [np.zeros(0, np.int64)])
    keys.sort()
    starts = np.searchsorted(keys, np.arange(num_tiles + 1, dtype=np.int64) << 32)
    return starts, (keys & 0xFFFFFFFF).astype(np.int32)


def _along_curve(boxes: np.ndarray) -> np.ndarray:
    """The order of the middles of ``boxes`` along a Hilbert curve (D. Hilbert 1891) through all of them."""
    if not len(boxes):
        return np.zeros(0, np.int64)
    middles = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    span = float(np.ptp(middles, 0).max()) or 1.0
    at = ((middles - middles.min(0)) / span * ((1 << HILBERT_BITS) - 1)).astype(np.int64)
    x, y = at[:, 0], at[:, 1]
    place = np.zeros(len(at), np.int64)
    for bit in range(HILBERT_BITS - 1, -1, -1):
        side = np.int64(1) << bit
        right, upper = (x & side) > 0, (y & side) > 0
        place += side * side * ((3 * right) ^ upper)
        turned = right & ~upper
        x, y = (
            np.where(turned, side - 1 - (x & (side - 1)), x & (side - 1)),
            np.where(turned, side - 1 - (y & (side - 1)), y & (side - 1)),
        )
        x, y = np.where(upper, x, y), np.where(upper, y, x)
    return np.argsort(place, kind="stable")
