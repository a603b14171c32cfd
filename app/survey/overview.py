"""The tiles of a survey seen from above, as rectangles by state."""

from dataclasses import dataclass, field

from app.clouds.cloud import Bounds
from app.errors import shortened
from app.survey.row import Row, State

MOST_CELLS = 10_000  # rectangles of all maps; of more tiles some share one
MOST_MAPS = 12
WIDTH = 1000.0  # of a map, in units of the drawing
WORDS_CHARS = 300  # of what is said of a rectangle

# what lies on top, and what a rectangle shows that several tiles share: the first of these that one of them is in
URGENCY = (State.QUARANTINED, State.FAILED, State.RUNNING, State.PENDING, State.DONE, State.CONTEXT)

Box = tuple[float, float, float, float]  # low x, low y, high x, high y


@dataclass(frozen=True)
class Cell:
    """A rectangle in units of the drawing, y downwards."""

    state: State
    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True)
class Map:
    """Rectangles of the tiles of one coordinate system, and the part of the drawing that holds them."""

    name: str
    view: str
    cells: list[Cell]
    words: str


@dataclass
class _Spot:
    """One tile, or several in a square: their number, and the state and words of the most urgent."""

    box: Box
    state: State
    words: str
    num_tiles: int = 1

    def add(self, other: "_Spot") -> None:
        if URGENCY.index(other.state) < URGENCY.index(self.state):
            self.state, self.words = other.state, other.words
        self.num_tiles += other.num_tiles


class _Group:
    """The tiles of one coordinate system: each by itself, or those whose middles lie in a square of ``side``."""

    def __init__(self) -> None:
        self.num_tiles = 0
        self.side = 0.0
        self.spots: dict[tuple[int, int], _Spot] = {}
        self.box: Box = (float("inf"), float("inf"), float("-inf"), float("-inf"))

    def add(self, bounds: Bounds, state: State, words: str) -> None:
        """Add a tile."""
        box = (bounds[0], bounds[1], bounds[3], bounds[4])
        self.box = (*map(min, self.box[:2], box[:2]), *map(max, self.box[2:], box[2:]))  # type: ignore[assignment]
        self.num_tiles += 1
        self._put(_Spot(box, state, words))

    def _put(self, spot: _Spot) -> None:
        if not self.side:
            self.spots[self.num_tiles, 0] = spot
            return
        low_x, low_y, high_x, high_y = spot.box
        place = int((low_x + high_x) / 2 // self.side), int((low_y + high_y) / 2 // self.side)
        if place in self.spots:
            self.spots[place].add(spot)
            return
        spot.box = (*(each * self.side for each in place), *((each + 1) * self.side for each in place))  # type: ignore[assignment]
        self.spots[place] = spot

    def coarsen(self) -> None:
        """Let tiles share squares, or squares larger ones, so that there are fewer."""
        before = list(self.spots.values())
        while len(self.spots) == len(before):
            low_x, low_y, high_x, high_y = self.box
            self.side = 2 * self.side or max(high_x - low_x, high_y - low_y, 1e-9) / len(before)
            self.spots = {}
            for spot in before:
                self._put(spot)

    def cells(self, scale: float) -> list[Cell]:
        """Rectangles of the drawing; what overlaps is hidden by what is more urgent."""
        low_x, low_y, high_x, high_y = self.box
        found = []
        for spot in sorted(self.spots.values(), key=lambda spot: -URGENCY.index(spot.state)):
            left, right = (min(max(x, low_x), high_x) for x in spot.box[::2])
            below, above = (min(max(y, low_y), high_y) for y in spot.box[1::2])
            width, height = (max(1.0, round(size * scale, 2)) for size in (right - left, above - below))
            words = spot.words if spot.num_tiles == 1 else f"{spot.num_tiles:,} tiles, such as {spot.words}"
            place = round((left - low_x) * scale, 2), round((high_y - above) * scale, 2)
            found.append(Cell(spot.state, *place, width, height, words))
        return found


@dataclass
class Overview:
    """Gathers any number of tiles, those of each coordinate system on a map of their own."""

    _groups: dict[str, _Group] = field(default_factory=dict)
    _num_spots: int = 0
    _num_unplaced: int = 0

    def add(self, row: Row) -> None:
        """Add a tile; one whose header states no bounds is counted only."""
        if row.tile.bounds is None:
            self._num_unplaced += 1
            return
        points = row.labelled_points or row.tile.num_points or 0
        words = f"{row.tile.name}: {row.state}, {points:,} points"
        words = shortened(f"{words}. {row.error}" if row.error else words, WORDS_CHARS)
        group = self._groups.setdefault(row.tile.crs, _Group())
        self._num_spots -= len(group.spots)
        group.add(row.tile.bounds, row.state, words)
        self._num_spots += len(group.spots)
        if self._num_spots > MOST_CELLS:
            largest = max(self._groups.values(), key=lambda each: len(each.spots))
            if len(largest.spots) > 1:
                self._num_spots -= len(largest.spots)
                largest.coarsen()
                self._num_spots += len(largest.spots)

    def maps(self) -> list[Map]:
        """A map for each coordinate system, that with the most tiles first; of very many only some."""
        groups = sorted(self._groups.values(), key=lambda group: -group.num_tiles)
        left = f" {self._num_unplaced:,} tiles state no bounds." if self._num_unplaced else ""
        if len(groups) > MOST_MAPS:
            num_tiles = sum(group.num_tiles for group in groups[MOST_MAPS:])
            left += f" {len(groups) - MOST_MAPS:,} more coordinate systems, of {num_tiles:,} tiles, are not drawn."
        several = len(groups) > 1
        return [
            _map(f" {number}" if several else "", group, left if number == 1 else "")
            for number, group in enumerate(groups[:MOST_MAPS], 1)
        ]


def _map(name: str, group: _Group, left: str) -> Map:
    low_x, low_y, high_x, high_y = group.box
    scale = WIDTH / (max(high_x - low_x, high_y - low_y) or 1.0)
    view = f"-2 -2 {(high_x - low_x) * scale + 4:.0f} {(high_y - low_y) * scale + 4:.0f}"
    shared = " Tiles near each other share a rectangle." if group.side else ""
    words = f"{group.num_tiles:,} tiles, {high_x - low_x:,.0f} × {high_y - low_y:,.0f} in the units of the files."
    return Map(name, view, group.cells(scale), words + shared + left)
