"""What is kept of a tile: how often each pair of true code and label occurs, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from app.clouds import occurrences
from app.clouds.comparison import paired
from app.evaluate.heights import Base, heights_m
from app.evaluate.places import ROUNDING, cells, edge_distance_m
from app.evaluate.scheme import Scheme
from app.evaluate.tile import Tile

HEIGHTS_M = (-0.5, 0.5, 2.0, 5.0, 10.0, 20.0)  # where a span of heights ends and the next begins
EDGES_M = (2.0, 5.0, 10.0, 20.0, 50.0)
CONFIDENCE_BINS = 10


@dataclass(frozen=True)
class Tally:
    """The judged points of a tile, by the P pairs of true code and label that occur.

    Attributes:
        name: of the tile.
        pairs: int64 (P, 2).
        points: int64 (P,).
        area_m2: float64 (P,): every cell in plan that holds judged points is shared among them.
        by_height, by_edge: int64 (P, H) and (P, E), points by ``spans`` of ``HEIGHTS_M`` and ``EDGES_M``.
        by_confidence: int64 (P, B), points with a confidence by tenth of it; None if the prediction states none.
        confidence: float64 (B,), the sum of confidence in each tenth.
        base: above what heights are.
        ignored: points by true code that is not judged.
        is_asprs: whether all codes are those of LAS.
        notes: what is to be said of the tile.
    """

    name: str
    pairs: np.ndarray
    points: np.ndarray
    area_m2: np.ndarray
    by_height: np.ndarray
    by_edge: np.ndarray
    by_confidence: np.ndarray | None
    confidence: np.ndarray
    base: Base
    ignored: dict[int, int]
    is_asprs: bool
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, tile: Tile, scheme: Scheme, cell_m: float) -> "Tally":
        """Count ``tile`` by ``scheme``, with cells of ``cell_m`` by ``cell_m``."""
        codes, counts = occurrences.of(tile.truth)
        kept = scheme.judged(tile.name, codes.tolist(), tile.is_asprs)
        judged = np.isin(tile.truth, list(kept))
        truth, predicted = tile.truth[judged].astype(np.int64), tile.predicted[judged].astype(np.int64)
        pairs, places = paired(truth, predicted)
        heights, base = heights_m(tile)
        cell, num_cells = cells(tile.xyz_m[judged], cell_m)
        shares = cell_m**2 / np.bincount(cell, minlength=num_cells)
        tenths: np.ndarray | None = None
        sums: np.ndarray = np.zeros(CONFIDENCE_BINS)
        if tile.confidence is not None:
            confidence = tile.confidence[judged].astype(np.float64)
            known = ~np.isnan(confidence)
            confidence = confidence[known]
            tenth = np.minimum((confidence * CONFIDENCE_BINS + ROUNDING).astype(np.int64), CONFIDENCE_BINS - 1)
            tenths = _table(places[known], len(pairs), tenth, CONFIDENCE_BINS)
            sums = np.bincount(tenth, confidence, CONFIDENCE_BINS)
        return cls(
            tile.name,
            pairs,
            np.bincount(places, minlength=len(pairs)),
            np.bincount(places, shares[cell], len(pairs)),
            _by_span(places, len(pairs), heights[judged], HEIGHTS_M),
            _by_span(places, len(pairs), edge_distance_m(tile.xyz_m)[judged], EDGES_M),
            tenths,
            sums,
            base,
            {int(code): int(count) for code, count in zip(codes, counts, strict=True) if code not in kept},
            tile.is_asprs,
            tile.notes,
        )


def _by_span(places: np.ndarray, num_pairs: int, values: np.ndarray, ends: Sequence[float]) -> np.ndarray:
    """Points by pair and span of ``values``."""
    columns = np.searchsorted(ends, values + ROUNDING, side="right")
    columns[np.isnan(values)] = len(ends) + 1
    return _table(places, num_pairs, columns, len(ends) + 2)


def _table(rows: np.ndarray, num_rows: int, columns: np.ndarray, num_columns: int) -> np.ndarray:
    return np.bincount(rows * num_columns + columns, minlength=num_rows * num_columns).reshape(num_rows, num_columns)


def spans(ends: Sequence[float], starts_at: float | None = None) -> list[str]:
    """The spans in words: "below -0.5 m", "-0.5 to 0.5 m" … "20 m and more", and "not known" for what is NaN."""
    first = f"below {ends[0]:g} m" if starts_at is None else f"{starts_at:g} to {ends[0]:g} m"
    between = [f"{low:g} to {high:g} m" for low, high in pairwise(ends)]
    return [first, *between, f"{ends[-1]:g} m and more", "not known"]
