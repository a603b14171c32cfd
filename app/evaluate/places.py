"""Where points of a tile lie in plan: in which cell, and how far from its edge."""

import numpy as np

from app.clouds import occurrences

ROUNDING = 1e-6  # of a cell: a point on the border of two is in the second, however its coordinates are rounded


def cells(xyz_m: np.ndarray, edge_m: float) -> tuple[np.ndarray, int]:
    """The square cell of ``edge_m`` that each of N points lies in, int64 (N,) from 0, and how many cells hold points.

    Cells begin at the least x and y, so moving a tile changes nothing. Points without finite coordinates share one.
    """
    finite = np.isfinite(xyz_m[:, :2]).all(1)
    column, row = (_steps(xyz_m[:, axis], finite, edge_m) for axis in (0, 1))
    occupied, places = occurrences.places(column * (row.max(initial=0) + 1) + row)
    return places, len(occupied)


def _steps(values: np.ndarray, finite: np.ndarray, edge_m: float) -> np.ndarray:
    """How many ends of cells lie below each of N coordinates, int64 (N,); 0 for one that is not ``finite``."""
    steps = np.zeros(len(values), np.int64)
    steps[finite] = 1 + np.floor((values[finite] - values[finite].min(initial=np.inf)) / edge_m + ROUNDING)
    return steps


def edge_distance_m(xyz_m: np.ndarray) -> np.ndarray:
    """Distance of each of N points to the nearest side of the box around all of them, seen from above, float64 (N,);
    NaN for one without finite coordinates."""
    finite = np.isfinite(xyz_m[:, :2]).all(1)
    distance = np.full(len(xyz_m), np.nan)
    xy = xyz_m[finite, :2]
    low, high = xy.min(0, initial=np.inf), xy.max(0, initial=-np.inf)
    distance[finite] = np.minimum(xy - low, high - xy).min(1)
    return distance
