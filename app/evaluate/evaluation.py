"""The figures of many tiles: pooled, by tile, by height, by distance to the edge, by confidence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.clouds.comparison import Comparison
from app.confusion import Confusion, pooled
from app.errors import BadRequest
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
        notes: what is to be said of tiles, one sentence each.
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
    notes: list[str]
    failures: dict[str, str]

    @property
    def words(self) -> str:
        """What was compared, in a sentence or two."""
        num_tiles = f"{len(self.tiles):,} tile{'s' * (len(self.tiles) != 1)}"
        text = f"{self.points.judged:,} points of {num_tiles} are judged, {self.points.ignored:,} left out."
        if self.intervals:
            text += (
                f" Intervals: the middle {100 * LEVEL:g} % of {self.resamples:,} draws of {num_tiles} with "
                f"replacement, seed {self.seed}."
            )
        return text


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
        BadRequest: no point is judged.
    """
    pairs = np.concatenate([tally.pairs for tally in tallies])
    ignored: Counter[int] = Counter()
    for tally in tallies:
        ignored.update(tally.ignored)
    if not len(pairs):
        codes = ", ".join(f"{code} ({count:,} points)" for code, count in ignored.most_common(8))
        raise BadRequest(f"No point is judged: the truth holds only codes that are left out: {codes}.")
    truth, predicted = (np.unique(side).tolist() for side in pairs.T)
    comparison = scheme.comparison(truth, predicted, is_asprs=all(tally.is_asprs for tally in tallies))
    tiles = [(tally.name, _confusion(comparison, tally, tally.points)) for tally in tallies]
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
        [f"{tally.name}: {note}" for tally in tallies for note in tally.notes],
        dict(failures or {}),
    )


def _confusion(comparison: Comparison, tally: Tally, weights: np.ndarray) -> Confusion:
    """Of one tile, by the ``weights`` (P,) of its pairs."""
    found = comparison.confusion(tally.pairs[:, 0], tally.pairs[:, 1], weights)
    return Confusion(found.names, found.counts, sum(tally.ignored.values()))


def _views(
    comparison: Comparison, tallies: Sequence[Tally], name: str, words: Sequence[str]
) -> list[tuple[str, Confusion]]:
    """A confusion for each column of the table ``name`` that holds points."""
    views = [
        (word, pooled([_confusion(comparison, tally, getattr(tally, name)[:, column]) for tally in tallies]))
        for column, word in enumerate(words)
    ]
    return [(word, confusion) for word, confusion in views if confusion.judged]


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
