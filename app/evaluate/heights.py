"""Heights of points: stated, above the ground of the truth, or above the lowest point."""

from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from app.evaluate.places import cells
from app.evaluate.tile import Tile

GROUND = (2, 8, 11)  # ground, key points of it, road surface
GROUND_CELL_M = 1.0
NEIGHBOURS = 4
Base = Literal["above ground, as stated", "above the true ground", "above the lowest point"]


def heights_m(tile: Tile) -> tuple[np.ndarray, Base]:
    """Height of every point, float64 (N,), and above what.

    The ground under a point is the mean height of the true ground in cells of 1 m, weighted by the inverse of the
    distance to the nearest four of them.
    """
    z = tile.xyz_m[:, 2]
    if tile.height_m is not None:
        return tile.height_m.astype(np.float64), "above ground, as stated"
    ground = tile.xyz_m[np.isin(tile.truth, GROUND) & np.isfinite(tile.xyz_m).all(1)] if tile.is_asprs else z[:0]
    if not len(ground):
        return z - np.min(z, where=np.isfinite(z), initial=np.inf), "above the lowest point"
    places, num_cells = cells(ground, GROUND_CELL_M)
    sizes = np.bincount(places, minlength=num_cells)
    centres = np.column_stack([np.bincount(places, ground[:, axis], num_cells) / sizes for axis in range(3)])
    found = min(NEIGHBOURS, num_cells)
    xy = np.nan_to_num(tile.xyz_m[:, :2])
    away, nearest = (each.reshape(len(tile), found) for each in cKDTree(centres[:, :2]).query(xy, k=found))
    weights = 1 / np.maximum(away, 1e-3)
    return z - (weights * centres[nearest, 2]).sum(1) / weights.sum(1), "above the true ground"
