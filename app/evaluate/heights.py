"""Heights of points: stated, above the ground of the truth, or above the lowest point."""

from typing import Literal

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates

from app.evaluate.tile import Tile

GROUND = (2, 8, 11)  # ground, key points of it, road surface
CELL_M = 1.0
MAX_CELLS = 1 << 22  # 2 km a side in cells of 1 m
Base = Literal["above ground, as stated", "above the true ground", "above the lowest point"]


def heights_m(tile: Tile) -> tuple[np.ndarray, Base]:
    """Height of every point, float64 (N,), NaN for one without finite coordinates, and above what.

    The ground is the mean height of its points in cells of 1 m, that of the nearest such cell where there is none, and
    bilinear between the middles of cells.
    """
    if tile.height_m is not None:
        return tile.height_m.astype(np.float64), "above ground, as stated"
    finite = np.isfinite(tile.xyz_m).all(1)
    z = np.where(finite, tile.xyz_m[:, 2], np.nan)
    is_ground = np.isin(tile.truth, GROUND) & finite if tile.is_asprs else np.zeros(len(tile), bool)
    if not is_ground.any():
        return z - np.min(z, where=finite, initial=np.inf), "above the lowest point"
    ground, low, edge_m = _raster(tile.xyz_m[is_ground])
    middles = ((tile.xyz_m[:, :2] - low) / edge_m - 0.5).T
    return z - map_coordinates(ground, np.nan_to_num(middles), order=1, mode="nearest"), "above the true ground"


def _raster(ground: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Heights of ``ground`` points (G, 3) by cell, without gaps; x and y where the raster begins; edge of a cell."""
    low, extent = ground[:, :2].min(0), np.ptp(ground[:, :2], axis=0)
    edge_m = CELL_M
    while np.prod(extent // edge_m + 1) > MAX_CELLS:
        edge_m *= 2
    shape = (extent // edge_m + 1).astype(np.int64)
    column, row = ((ground[:, :2] - low) // edge_m).astype(np.int64).T
    places = column * shape[1] + row
    sizes, sums = (np.bincount(places, weights, shape.prod()).reshape(shape) for weights in (None, ground[:, 2]))
    nearest = distance_transform_edt(sizes == 0, return_distances=False, return_indices=True)
    return (sums / np.maximum(sizes, 1))[tuple(nearest)], low, edge_m
