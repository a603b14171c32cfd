"""Where points of a tile lie in plan: in which cell, and how far from its edge."""

import numpy as np

ROUNDING = 1e-6  # of a cell: a point on the border of two is in the second, however its coordinates are rounded


def cells(xyz_m: np.ndarray, edge_m: float) -> tuple[np.ndarray, int]:
    """The square cell of ``edge_m`` that each of N points lies in, int64 (N,) from 0, and how many cells hold points.

    Cells begin at the least x and y, so moving a tile changes nothing. Points without finite coordinates share one.
    """
    finite = np.isfinite(xyz_m[:, :2]).all(1)
    xy = np.where(finite[:, None], xyz_m[:, :2], np.nan)
    low = xy[finite].min(0) if finite.any() else np.zeros(2)
    column, row = np.nan_to_num(np.floor((xy - low) / edge_m + ROUNDING), nan=-1).astype(np.int64).T
    occupied, places = np.unique((column << 32) + row, return_inverse=True)
    return places.reshape(-1), len(occupied)


def edge_distance_m(xyz_m: np.ndarray) -> np.ndarray:
    """Distance of each of N points to the nearest side of the box around all of them, seen from above, float64 (N,)."""
    xy = xyz_m[:, :2]
    finite = np.isfinite(xy).all(1)
    if not finite.any():
        return np.full(len(xy), np.nan)
    low, high = xy[finite].min(0), xy[finite].max(0)
    return np.minimum(xy - low, high - xy).min(1)
