"""Normals estimated from neighbours, for clouds without normals of their own."""

import torch
from pointops import knn_query, neighbour_moments
from torch import Tensor

from .least_variance import least_variance
from .neighbours import chunks

NEIGHBOURS = 16
ROOM_EXTENT = 50.0
UP = (0, 0, 1)


def estimate_normals(coord: Tensor) -> Tensor:
    """Unit normals float32 (N, 3) of one cloud, finite ``coord`` float32 (N, 3), N > 0.

    The normal is the direction of least variance of the 16 nearest points (the point itself among them; of points at
    equal distances those that come first), (0, 0, 1) if these lie on a line or a spot. PCA leaves the sign open. A
    cloud of at most 50 units across is taken as a room: normals point towards the middle of its bounding box, as seen
    by a scanner inside. A larger one is taken as a landscape: normals point up (+z).
    """
    neighbours = min(NEIGHBOURS, len(coord))
    rows, _ = knn_query(neighbours, coord, torch.full((1,), len(coord), device=coord.device))
    axes = coord.T.contiguous()
    normals = torch.empty_like(coord)
    for chunk in chunks(coord):
        moments = neighbour_moments(rows[chunk], neighbours, coord, coord[chunk])
        normals[chunk] = least_variance(*moments[3:9])
    low, high = axes.amin(1), axes.amax(1)
    is_room = (high - low)[:2].amax() <= ROOM_EXTENT
    inwards = [
        normal * torch.where(is_room, middle - axis, to)
        for normal, middle, axis, to in zip(normals.T, (low + high) / 2, axes, UP, strict=True)
    ]
    outwards = inwards[0] + inwards[1] + inwards[2] < 0
    return torch.where(outwards[:, None], -normals, normals)
