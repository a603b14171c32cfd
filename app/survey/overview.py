"""The tiles of a survey seen from above, as rectangles by state."""

from collections import defaultdict
from dataclasses import dataclass, field

from app.survey.row import Row, State
from app.survey.tile import Bounds

MOST_CELLS = 10_000  # rectangles of a map; more tiles than that share them
WIDTH = 1000.0  # of a map, in units of the drawing

# what lies on top, and what a rectangle shows that several tiles share: the first of these that one of them is in
URGENCY = (State.QUARANTINED, State.FAILED, State.RUNNING, State.PENDING, State.DONE, State.CONTEXT)


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
class Overview:
    """Gathers tiles, those of each coordinate system on a map of their own."""

    _tiles: dict[str, list[tuple[Bounds, State, str]]] = field(default_factory=lambda: defaultdict(list))
    _num_unplaced: int = 0

    def add(self, row: Row) -> None:
        """Add a tile; one whose header states no bounds is counted only."""
        if row.tile.bounds is None:
            self._num_unplaced += 1
            return
        points = row.labelled_points or row.tile.num_points or 0
        words = f"{row.tile.name}: {row.state}, {points:,} points"
        self._tiles[row.tile.crs].append((row.tile.bounds, row.state, f"{words}. {row.error}" if row.error else words))

    def maps(self) -> list[Map]:
        """A map for each coordinate system, that with the most tiles first."""
        left = f" {self._num_unplaced:,} tiles state no bounds." if self._num_unplaced else ""
        groups = sorted(self._tiles.items(), key=lambda group: -len(group[1]))
        several = len(groups) > 1
        return [
            _map(f" {number}" if several else "", tiles, left if number == 1 else "")
            for number, (_, tiles) in enumerate(groups, 1)
        ]


def _map(name: str, tiles: list[tuple[Bounds, State, str]], left: str) -> Map:
    least_x, least_y = (min(bounds[axis] for bounds, _, _ in tiles) for axis in (0, 1))
    most_x, most_y = (max(bounds[axis + 3] for bounds, _, _ in tiles) for axis in (0, 1))
    span = max(most_x - least_x, most_y - least_y) or 1.0
    scale = WIDTH / span
    cells = [
        Cell(
            state,
            round((bounds[0] - least_x) * scale, 2),
            round((most_y - bounds[4]) * scale, 2),
            max(1.0, round((bounds[3] - bounds[0]) * scale, 2)),
            max(1.0, round((bounds[4] - bounds[1]) * scale, 2)),
            words,
        )
        for bounds, state, words in tiles
    ]
    cells.sort(key=lambda cell: -URGENCY.index(cell.state))  # what overlaps is hidden by what is more urgent
    view = f"-2 -2 {(most_x - least_x) * scale + 4:.0f} {(most_y - least_y) * scale + 4:.0f}"
    shared = "" if len(cells) <= MOST_CELLS else " Tiles near each other share a rectangle."
    words = f"{len(tiles):,} tiles, {most_x - least_x:,.0f} × {most_y - least_y:,.0f} in the units of the files."
    return Map(name, view, cells if len(cells) <= MOST_CELLS else _shared(cells), words + shared + left)


def _shared(cells: list[Cell]) -> list[Cell]:
    """At most ``MOST_CELLS`` squares in place of the rectangles whose centers they hold."""
    side = WIDTH / MOST_CELLS**0.5
    squares: dict[tuple[int, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        middle = cell.x + cell.width / 2, cell.y + cell.height / 2
        squares[int(min(middle[0], WIDTH - 1) / side), int(min(middle[1], WIDTH - 1) / side)].append(cell)
    found = []
    for (column, row), inside in squares.items():
        state = min((cell.state for cell in inside), key=URGENCY.index)
        first = next(cell for cell in inside if cell.state is state)
        words = first.words if len(inside) == 1 else f"{len(inside):,} tiles, such as {first.words}"
        found.append(Cell(state, round(column * side, 2), round(row * side, 2), side, side, words))
    return found
