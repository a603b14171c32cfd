"""The transforms in numpy, as upstream and the definitions of the airborne features write them."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree


def center_shift(coord, apply_z=True):
    low, high = coord.min(0), coord.max(0)
    return coord - [*((low + high) / 2)[:2], low[2] if apply_z else 0]


def normalize_coord(coord):
    coord = coord - coord.mean(0)
    return coord / np.sqrt((coord**2).sum(1)).max()


def rotated(vectors, angle_rad, axis):
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    matrix = {
        "x": [[1, 0, 0], [0, cos, -sin], [0, sin, cos]],
        "y": [[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]],
        "z": [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]],
    }[axis]
    return vectors @ np.array(matrix).T


def voxels(coord, grid_size):
    """Voxel of each point; in the order of FNV keys, the number of each point's voxel and the first point of each."""
    grid_coord = np.floor(coord / np.float64(grid_size)).astype(np.int64)
    grid_coord -= grid_coord.min(0)
    keys = np.full(len(coord), 14695981039346656037, np.uint64)
    for axis in grid_coord.astype(np.uint64).T:
        keys = keys * np.uint64(1099511628211) ^ axis
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return grid_coord, inverse, first


def lowest_of_cells(coord, cell_m, is_terrain=True):
    column, row = np.floor((coord[:, :2] - coord[:, :2].min(0)) / cell_m).astype(np.int64).T
    lowest = np.full((column.max() + 1, row.max() + 1), np.inf)
    np.minimum.at(lowest, (column, row), np.where(is_terrain, coord[:, 2], np.inf))
    return lowest, (column, row)


def second_lowest(raster, width):
    return ndimage.rank_filter(raster, rank=1, size=width, mode="constant", cval=np.inf)


def eroded(raster, width):
    return ndimage.minimum_filter(raster, size=width, mode="constant", cval=np.inf)


def dilated(raster, width):
    return ndimage.maximum_filter(raster, size=width, mode="constant", cval=-np.inf)


def height_over(surface, cells, z):
    below = surface[cells]
    return np.where(np.isfinite(below), z - np.where(np.isfinite(below), below, 0), 0)


def support(coord, cell_m):
    """Counted point by point, where the heights of all fit into the layers."""
    edge_m, layer_m = cell_m
    cells = np.floor((coord.astype(np.float64) - coord.min(0)) / [edge_m, edge_m, layer_m]).astype(np.int64)
    counts = np.zeros(cells.max(0) + 1)
    np.add.at(counts, tuple(cells.T), 1)
    around = ndimage.convolve(counts, np.ones((3, 3, 3)), mode="constant")
    return np.sqrt(np.sqrt(around / around.max(2, keepdims=True)))[tuple(cells.T)][:, None]


def height_above_lowest(coord, cell_m, radii_m, scale_m, clip_m, is_terrain=True):
    coord = coord.astype(np.float64)
    lowest, cells = lowest_of_cells(coord, cell_m, is_terrain)
    ground = second_lowest(lowest, 3)
    heights = [height_over(eroded(ground, width(radius_m, cell_m)), cells, coord[:, 2]) for radius_m in radii_m]
    return np.stack([np.clip(height, -clip_m, clip_m) / scale_m for height in heights], 1)


def height_above_opening(coord, cell_m, radii_m, pit_m, is_terrain=True):
    coord = coord.astype(np.float64)
    lowest, cells = lowest_of_cells(coord, cell_m, is_terrain)
    second = second_lowest(lowest, 5)
    ground = np.where(np.isfinite(second) & (lowest < second - pit_m), second, lowest)
    relief = []
    for radius_m in radii_m:
        low = eroded(ground, width(radius_m, cell_m))
        height = height_over(
            dilated(np.where(np.isinf(low), -np.inf, low), width(radius_m, cell_m)), cells, coord[:, 2]
        )
        relief.append(np.sign(height) * np.log1p(np.abs(height) / 0.2) / 2)
    return np.stack(relief, 1)


def noise_below(coord, support_cell_m, least_support, cell_m, radius_m, depth_m):
    """Which points DropNoiseBelow leaves out, and of each the nearest of those that lie lowest in their cells."""
    is_weak = support(coord, support_cell_m)[:, 0] < least_support
    terrain, cells = lowest_of_cells(coord, cell_m, ~is_weak)
    height = height_over(eroded(terrain, width(radius_m, cell_m)), cells, coord[:, 2].astype(np.float64))
    is_noise = is_weak & (height < -depth_m)
    lowest, cells = lowest_of_cells(coord, cell_m, ~is_noise)
    kept = np.flatnonzero(~is_noise & (coord[:, 2] == lowest[cells]))
    return is_noise, kept[cKDTree(coord[kept]).query(coord[is_noise])[1]]


def width(radius_m, cell_m):
    return 2 * max(1, round(radius_m / cell_m)) + 1


def returns(number, total):
    known = (number >= 1) & (number <= total)
    number, total = np.where(known, number, 1), np.where(known, total, 1)
    return np.stack([1 - number / total, 1 - 1 / total], 1)
