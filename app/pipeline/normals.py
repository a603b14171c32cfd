"""Normals estimated from neighbours, for clouds without normals of their own."""

import numpy as np
from scipy.spatial import cKDTree

NEIGHBOURS = 16
CHUNK_POINTS = 200_000
ROOM_EXTENT = 50.0


def estimate_normals(coord: np.ndarray) -> np.ndarray:
    """Unit normals float32 (N, 3) of finite float ``coord`` (N, 3).

    The normal is the direction of least variance of the 16 nearest points (the point itself among them), (0, 0, 1)
    if these lie on a line or a spot. PCA leaves the sign open. A cloud of at most 50 units across is taken as a
    room: normals point towards the middle of its bounding box, as seen by a scanner inside. A larger one is taken
    as a landscape: normals point up (+z).
    """
    normals = np.empty((len(coord), 3), np.float32)
    tree = cKDTree(coord)
    neighbours = min(NEIGHBOURS, len(coord))
    for start in range(0, len(coord), CHUNK_POINTS):
        chunk = coord[start : start + CHUNK_POINTS]
        rows = tree.query(chunk, neighbours, workers=-1)[1].reshape(len(chunk), neighbours)
        normals[start : start + CHUNK_POINTS] = _least_variance(coord[rows].astype(np.float64))
    low, high = coord.min(0), coord.max(0)
    is_room = (high - low)[:2].max() <= ROOM_EXTENT
    towards = (low + high) / 2 - coord if is_room else np.array([0.0, 0.0, 1.0])
    normals[(normals * towards).sum(1) < 0] *= -1
    return normals


def _least_variance(groups: np.ndarray) -> np.ndarray:  # (M, K, 3) -> (M, 3)
    centred = groups - groups.mean(1, keepdims=True)
    values, vectors = np.linalg.eigh(np.einsum("mki,mkj->mij", centred, centred))  # ascending
    out = vectors[:, :, 0]
    out[values[:, 1] <= 1e-8 * values[:, 2]] = (0, 0, 1)
    return out
