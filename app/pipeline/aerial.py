"""Features for airborne LiDAR that hold for any survey: shape and echoes, no absolute value, no density.

Each function adds one feature to a sample (see ``app.pipeline.transforms``) and is named in a config by its type.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

MAX_RASTER_CELLS = 1 << 25


def occupancy(sample: dict) -> dict:
    """``Occupancy``: adds ``occupancy`` float32 (N, 1), all ones: the voxel is there."""
    return sample | {"occupancy": np.ones((len(sample["coord"]), 1), np.float32)}


def voxel_offset(sample: dict, grid_size: float) -> dict:
    """``VoxelOffset``: adds ``offset`` float32 (N, 3), the place of ``coord`` in its voxel, -0.5 to 0.5 voxels.

    ``grid_size`` is the voxel's edge in metres, the same as in GridSample.
    """
    position = sample["coord"].astype(np.float64) / grid_size
    return sample | {"offset": (position - np.floor(position) - 0.5).astype(np.float32)}


def returns(sample: dict) -> dict:
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


def height_above_lowest(sample: dict, cell_m: float, radii_m: Sequence[float], scale_m: float, clip_m: float) -> dict:
    """``HeightAboveLowest``: adds ``height`` float32 (N, len(radii_m)), height over the lowest ground around.

    The lowest z of each cell of ``cell_m`` by ``cell_m`` is kept unless it stands alone (the second lowest of the 3 by
    3 cells around replaces it, against points below the ground); the lowest of the cells within each radius is
    subtracted from z; the result is clipped to -clip_m .. clip_m and divided by ``scale_m``.
    """
    coord = sample["coord"].astype(np.float64)
    low, extent_m = coord[:, :2].min(0), np.ptp(coord[:, :2], axis=0)
    while np.prod(np.floor(extent_m / cell_m) + 1) > MAX_RASTER_CELLS:
        cell_m *= 2
    column, row = np.floor((coord[:, :2] - low) / cell_m).astype(np.int64).T
    lowest = np.full((column.max() + 1, row.max() + 1), np.inf)
    np.minimum.at(lowest, (column, row), coord[:, 2])
    ground = ndimage.rank_filter(lowest, rank=1, size=3, mode="constant", cval=np.inf)
    heights = []
    for radius_m in radii_m:
        width = 2 * max(1, round(radius_m / cell_m)) + 1
        around = ndimage.minimum_filter(ground, size=width, mode="constant", cval=np.inf)[column, row]
        heights.append(coord[:, 2] - np.where(np.isfinite(around), around, coord[:, 2]))
    height = np.clip(np.stack(heights, 1), -clip_m, clip_m) / scale_m
    return sample | {"height": height.astype(np.float32)}
