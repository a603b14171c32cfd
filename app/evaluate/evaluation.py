"""The figures of many tiles: pooled, by tile, by height, by distance to the edge, by confidence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.clouds.asprs import name_of
from app.clouds.comparison import Comparison
from app.confusion import Confusion, pooled
from app.errors import BadRequest, some_of
from app.evaluate.calibration import Calibration
from app.evaluate.interval import LEVEL, Interval, intervals
from app.evaluate.scheme import Scheme
from app.evaluate.tally import EDGES_M, HEIGHTS_M, Tally, spans

RESAMPLES = 1000


@dataclass(frozen=True)
class Evaluation:
    """How well the labels of tiles agree with their truth.

    Attributes:
        comparison: the classes, and what counts as each.
        points: of all tiles together, in points.
        area: the same in square metres of plan; cells of ``cell_m`` by ``cell_m`` are shared by the points in them.
        tiles: name and confusion of every tile.
        heights, edges: words for a span and its confusion: by height, and by distance to the nearest side of the tile.
        bases: above what heights are, by the number of tiles.
        calibration: how far confidence is the share of right labels; None if a tile states no confidence.
        intervals: of the figures of ``points``, by name; none for fewer than two tiles.
        resamples, seed: of the intervals.
        ignored: points by true code that is not judged.
        is_asprs: whether codes are those of LAS.
        notes: sentences that are to be said of tiles, and the names of these.
        failures: why files were not compared, by their names.
    """

    comparison: Comparison
    points: Confusion
    area: Confusion
    cell_m: float
    tiles: list[tuple[str, Confusion]]
    heights: list[tuple[str, Confusion]]
    edges: list[tuple[str, Confusion]]
    bases: dict[str, int]
    calibration: Calibration | None
    intervals: dict[str, Interval]
    resamples: int
    seed: int
    ignored: dict[int, int]
    is_asprs: bool
    notes: dict[str, list[str]]
    failures: dict[str, str]

    @property
    def words(self) -> str:
        """What was compared, in a few sentences."""
        num_tiles = f"{len(self.tiles):,} tile{'s' * (len(self.tiles) != 1)}"
        text = f"{self.points.judged:,} points of {num_tiles} are judged, {self.points.ignored:,} left out"
        text += f": those of code {some_of([*map(self.named, self.ignored)])}." if self.ignored else "."
        missed = (self.points.truth > 0) & (self.points.predicted == 0)
        if missed.any():
            names = [name for name, is_missed in zip(self.points.names, missed, strict=True) if is_missed]
            text += f" No label is {', '.join(names)}: all their points are missed. --ignore leaves codes out."
        if self.intervals:
            text += (
                f" Intervals: the middle {100 * LEVEL:g} % of {self.resamples:,} draws of {num_tiles} with "
                f"replacement, seed {self.seed}."
            )
        return text

    @property
    def note_lines(self) -> list[str]:
        """The notes, each with some of the tiles that it is about."""
        return [f"{note} ({some_of(names)})" for note, names in self.notes.items()]

    def named(self, code: int) -> str:
        """A code of the truth and what it means, if LAS says so."""
        return f"{code} ({name_of(code)})" if self.is_asprs and code >= 0 else str(code)


def evaluation(
    tallies: Sequence[Tally],
    scheme: Scheme,
    cell_m: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
    failures: Mapping[str, str] | None = None,
) -> Evaluation:
    """The figures of ``tallies``, one at least, that were counted by ``scheme`` with cells of ``cell_m``.

    ``resamples`` and ``seed`` are those of the intervals, ``failures`` say why files were not compared.

    Raises:
        BadRequest: no point is judged; some tiles have codes of LAS and others ids, and ``scheme`` has no rules.
    """
    pairs = np.concatenate([tally.pairs for tally in tallies])
    ignored: Counter[int] = Counter()
    for tally in tallies:
        ignored.update(tally.ignored)
    if not len(pairs):
        codes = ", ".join(f"{code} ({count:,} points)" for code, count in ignored.most_common(8))
        raise BadRequest(f"No point is judged: the truth holds only codes that are left out: {codes}.")
    truth, predicted = (np.unique(side).tolist() for side in pairs.T)
    is_asprs = all(tally.is_asprs for tally in tallies)
    if not scheme.rules and not is_asprs and any(tally.is_asprs for tally in tallies):
        names = some_of([tally.name for tally in tallies if tally.is_asprs])
        raise BadRequest(
            f"{names}: the classes are codes of LAS, and in other files ids: --map says which are the same, as in "
            "--map 0=2:ground."
        )
    comparison = scheme.comparison(truth, predicted, is_asprs)
    tiles = [
        (tally.name, replace(_confusion(comparison, tally, tally.points), ignored=sum(tally.ignored.values())))
        for tally in tallies
    ]
    confusions = [confusion for _, confusion in tiles]
    points = pooled(confusions)
    return Evaluation(
        comparison,
        points,
        pooled([_confusion(comparison, tally, tally.area_m2) for tally in tallies]),
        cell_m,
        tiles,
        _views(comparison, tallies, "by_height", spans(HEIGHTS_M)),
        _views(comparison, tallies, "by_edge", spans(EDGES_M, 0)),
        dict(Counter(tally.base for tally in tallies)),
        _calibration(comparison, tallies),
        intervals(confusions, resamples, seed),
        resamples,
        seed,
        dict(sorted(ignored.items())),
        is_asprs,
        _notes(tallies),
        dict(failures or {}),
    )


def _confusion(comparison: Comparison, tally: Tally, weights: np.ndarray) -> Confusion:
    """Of one tile, by the ``weights`` (P,) of its pairs."""
    return comparison.confusion(tally.pairs[:, 0], tally.pairs[:, 1], weights)


def _views(
    comparison: Comparison, tallies: Sequence[Tally], name: str, words: Sequence[str]
) -> list[tuple[str, Confusion]]:
    """A confusion for each column of the table ``name`` that holds points."""
    views = [
        (word, pooled([_confusion(comparison, tally, getattr(tally, name)[:, column]) for tally in tallies]))
        for column, word in enumerate(words)
    ]
    return [(word, confusion) for word, confusion in views if confusion.judged]


def _notes(tallies: Sequence[Tally]) -> dict[str, list[str]]:
    """Sentences about tiles, each with their names."""
    notes: dict[str, list[str]] = {}
    for tally in tallies:
        for note in tally.notes:
            notes.setdefault(note, []).append(tally.name)
    without = [tally.name for tally in tallies if tally.by_confidence is None]
    if len(without) < len(tallies) and without:
        notes["There is no calibration, because some tiles have no confidence."] = without
    return notes


def _calibration(comparison: Comparison, tallies: Sequence[Tally]) -> Calibration | None:
    """Of the tenths of confidence; None if a tile states none."""
    tables = [tally.by_confidence for tally in tallies if tally.by_confidence is not None]
    if len(tables) < len(tallies):
        return None
    points, right = np.zeros((2, tables[0].shape[1]), np.int64)
    for tally, table in zip(tallies, tables, strict=True):
        truth, predicted = comparison.places(tally.pairs[:, 0], tally.pairs[:, 1])
        points = points + table.sum(0)
        right = right + table[truth == predicted].sum(0)
    return Calibration(points, right, np.sum([tally.confidence for tally in tallies], axis=0))
