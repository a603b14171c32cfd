"""How rough the surface around each point is, for networks that tell crops from soil and roofs from crowns."""

from collections.abc import Sequence

import numpy as np
import torch
from pointops import knn_query

CHUNK_POINTS = 10_000
SCALE_M = 0.3
LEAST_SPREAD_M = 0.02  # along the ground; keeps the plane of points that stand in a line or a spot level


def roughness(sample: dict, neighbours: Sequence[int]) -> dict:
    """``Roughness``: adds ``roughness`` float32 (N, 4 * len(neighbours)), four values for each number of neighbours.

    Through the k nearest points (the point itself among them; fewer where there are fewer) lies the plane of least
    squares in z. The values are the standard deviation of their heights over it, the cosine of its slope, the height
    of the point over it, and the height of the point over the lowest of them. Heights h become tanh(h / 0.3 m). The
    values do not change where the cloud is turned around z.
    """
    coord = np.ascontiguousarray(sample["coord"], np.float32)
    values = np.zeros((len(coord), 4 * len(neighbours)), np.float32)
    if len(coord):
        most = min(max(neighbours), len(coord))
        rows = knn_query(most, torch.from_numpy(coord), torch.tensor([len(coord)]))[0].numpy()
        for start in range(0, len(coord), CHUNK_POINTS):
            chunk = slice(start, start + CHUNK_POINTS)
            around = coord.T[:, rows[chunk]] - coord.T[:, chunk, None]
            values[chunk] = np.concatenate([_of_groups(*around[:, :, :number]) for number in neighbours], 1)
    return sample | {"roughness": values}


def _of_groups(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(M, 4) of the places x, y, z (M, K) of K points seen from the point they surround."""
    lowest = z.min(1)
    middle = [axis.mean(1) for axis in (x, y, z)]
    x, y, z = (axis - mean[:, None] for axis, mean in zip((x, y, z), middle, strict=True))
    least = LEAST_SPREAD_M**2
    xx, yy, zz = ((axis * axis).mean(1) for axis in (x, y, z))
    xy, xz, yz = ((one * other).mean(1) for one, other in ((x, y), (x, z), (y, z)))
    xx, yy = xx + least, yy + least
    determinant = xx * yy - xy * xy
    along_x, along_y = (yy * xz - xy * yz) / determinant, (xx * yz - xy * xz) / determinant
    spread_m = np.sqrt((zz - along_x * xz - along_y * yz).clip(0))
    over_plane_m = along_x * middle[0] + along_y * middle[1] - middle[2]
    heights = np.tanh(np.stack([spread_m, over_plane_m, -lowest], 1) / SCALE_M)
    return np.column_stack([heights[:, 0], 1 / np.sqrt(1 + along_x**2 + along_y**2), heights[:, 1:]])
