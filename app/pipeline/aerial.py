"""Features of airborne LiDAR that hold for any survey: shape and echoes, no absolute value, no density.

Each function adds one feature to a sample (see ``app.pipeline.transforms``) and is named in a config by its type.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from . import column_statistics
from .sample import Sample

MAX_RASTER_CELLS = 1 << 23  # 5.8 km a side in cells of 2 m


def occupancy(sample: Sample) -> Sample:
    """``Occupancy``: adds ``occupancy`` float32 (N, 1), all ones: the voxel is there."""
    return sample | {"occupancy": np.ones((len(sample["coord"]), 1), np.float32)}


def voxel_offset(sample: Sample, grid_size: float) -> Sample:
    """``VoxelOffset``: adds ``offset`` float32 (N, 3), the place of ``coord`` in its voxel, -0.5 to 0.5 voxels.

    ``grid_size`` is the voxel's edge in metres, the same as in GridSample.
    """
    position = sample["coord"].astype(np.float64) / grid_size
    return sample | {"offset": (position - np.floor(position) - 0.5).astype(np.float32)}


def returns(sample: Sample) -> Sample:
    """``Returns``: adds ``returns`` float32 (N, 2), what place an echo has among those of its pulse.

    They are 1 - return_number / number_of_returns and 1 - 1 / number_of_returns. A single echo, and a point whose
    numbers are missing or contradict each other, has (0, 0).
    """
    features = np.zeros((len(sample["coord"]), 2), np.float32)
    if "return_number" in sample and "number_of_returns" in sample:
        number = sample["return_number"].astype(np.float32).reshape(-1)
        total = sample["number_of_returns"].astype(np.float32).reshape(-1)
        known = (number >= 1) & (number <= total)
        features[known, 0] = 1 - number[known] / total[known]
        features[known, 1] = 1 - 1 / total[known]
    return sample | {"returns": features}


def height_above_lowest(
    sample: Sample, cell_m: float, radii_m: Sequence[float], scale_m: float, clip_m: float
) -> Sample:
    """``HeightAboveLowest``: adds ``height`` float32 (N, len(radii_m)), height over the lowest ground around.

    The lowest z of each cell of ``cell_m`` by ``cell_m`` is kept unless it stands alone (the second lowest of the 3 by
    3 cells around replaces it, against points below the ground); the lowest of the cells within each radius is
    subtracted from z; the result is clipped to -clip_m .. clip_m and divided by ``scale_m``.
    """
    coord = sample["coord"].astype(np.float64)
    lowest, cells, cell_m = lowest_of_cells(coord, cell_m, max(radii_m))
    ground = ndimage.rank_filter(lowest, rank=1, size=3, mode="constant", cval=np.inf)
    height = np.empty((len(coord), len(radii_m)), np.float32)
    for column, radius_m in enumerate(radii_m):
        over = height_over(_erode(ground, _window(radius_m, cell_m)), cells, coord[:, 2])
        np.clip(over, -clip_m, clip_m, out=over)
        np.divide(over, scale_m, out=height[:, column], casting="same_kind")
    return sample | {"height": height}


def height_above_opening(sample: Sample, cell_m: float, radii_m: Sequence[float], pit_m: float) -> Sample:
    """``HeightAboveOpening``: adds ``relief`` float32 (N, len(radii_m)), height over the terrain, finest near it.

    The terrain at each radius is the morphological opening of the lowest z of each cell of ``cell_m`` by ``cell_m``,
    which follows a slope and cuts off what is narrower than the radius (Zhang et al. 2003, the progressive
    morphological filter). A cell ``pit_m`` below the second lowest of the 5 by 5 around it is raised to that. A height
    h becomes sign(h) ln(1 + |h| / 0.2 m) / 2.
    """
    coord = sample["coord"].astype(np.float64)
    lowest, cells, cell_m = lowest_of_cells(coord, cell_m, max(radii_m))
    second = ndimage.rank_filter(lowest, rank=1, size=5, mode="constant", cval=np.inf)
    is_pit = np.isfinite(second) & (lowest < second - pit_m)
    ground = np.where(is_pit, second, lowest)
    relief = np.empty((len(coord), len(radii_m)), np.float32)
    for column, radius_m in enumerate(radii_m):
        width = _window(radius_m, cell_m)
        eroded = _erode(ground, width)
        eroded[np.isinf(eroded)] = -np.inf
        opened = ndimage.maximum_filter(eroded, size=width, mode="constant", cval=-np.inf)
        height = height_over(opened, cells, coord[:, 2])
        sign = np.sign(height)
        np.abs(height, out=height)
        height /= 0.2
        sign *= np.log1p(height, out=height)
        np.divide(sign, 2, out=relief[:, column], casting="same_kind")
    return sample | {"relief": relief}


def lowest_of_cells(coord: np.ndarray, cell_m: float, reach_m: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Lowest z of each cell, inf for an empty one; the cell of each point, counted along the raster's rows; the cell's
    edge in metres.

    If the raster would have more than ``MAX_RASTER_CELLS``, empty columns and rows wider than filters of radius
    ``reach_m`` look across are left out of it, which changes no height; the edge is doubled until that suffices.
    """
    low = column_statistics.lowest(coord[:, :2])
    while True:
        column, row = (np.floor((coord[:, axis] - low[axis]) / cell_m).astype(np.int64) for axis in (0, 1))
        if _num_cells(column, row) > MAX_RASTER_CELLS:
            gap = _window(reach_m, cell_m) + 4  # an opening looks two radii far, from what a filter of 5 by 5 filled in
            column, row = _without_gaps(column, gap), _without_gaps(row, gap)
        if _num_cells(column, row) <= MAX_RASTER_CELLS:
            break
        cell_m *= 2
    shape = (int(column.max()) + 1, int(row.max()) + 1)
    cells = column * shape[1] + row
    lowest = np.full(shape, np.inf)
    np.minimum.at(lowest.ravel(), cells, np.ascontiguousarray(coord[:, 2]))
    return lowest, cells, cell_m


def _num_cells(column: np.ndarray, row: np.ndarray) -> float:
    return (float(column.max()) + 1) * (float(row.max()) + 1)


def _without_gaps(index: np.ndarray, gap: int) -> np.ndarray:
    """``index`` (N,) counted from 0, with gaps between occupied values shortened to ``gap``; the order stays."""
    occupied, inverse = np.unique(index, return_inverse=True)
    return np.minimum(np.diff(occupied, prepend=0), gap).cumsum()[inverse]


def height_over(surface: np.ndarray, cells: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Height of each point over the surface in its cell, 0 if the surface is unknown."""
    below = np.take(np.where(np.isfinite(surface), surface, np.nan), cells)
    height = np.subtract(z, below, out=below)
    height[np.isnan(height)] = 0.0
    return height


def _window(radius_m: float, cell_m: float) -> int:
    return 2 * max(1, round(radius_m / cell_m)) + 1


def _erode(raster: np.ndarray, width: int) -> np.ndarray:
    return ndimage.minimum_filter(raster, size=width, mode="constant", cval=np.inf)
