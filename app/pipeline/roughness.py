"""Roughness of the surface around each point, by which networks tell crops from soil and roofs from crowns."""

from collections.abc import Sequence

import torch
from pointops import knn_query
from torch import Tensor

from .out_of_memory import is_out_of_memory
from .sample import Sample

CHUNK_POINTS = {"cpu": 10_000, "cuda": 200_000}  # what caches hold, what any card has room for
SCALE_M = 0.3
LEAST_SPREAD_M = 0.02  # along the ground; keeps the plane of points that stand in a line or a spot level


def roughness(sample: Sample, neighbours: Sequence[int]) -> Sample:
    """``Roughness``: adds ``roughness`` float32 (N, 4 * len(neighbours)), from ``roughness_of``; computed by the
    processor if the sample's device lacks the memory."""
    coord = sample["coord"].float().contiguous()
    try:
        return sample | {"roughness": roughness_of(coord, neighbours)}
    except Exception as error:
        if coord.device.type == "cpu" or not is_out_of_memory(error):
            raise
    # out of the handler, where the error no longer holds the device's memory
    return sample | {"roughness": roughness_of(coord.cpu(), neighbours).to(coord.device)}


def roughness_of(coord: Tensor, neighbours: Sequence[int]) -> Tensor:
    """float32 (N, 4 * len(neighbours)) of one cloud ``coord`` float32 (N, 3): four values a number of neighbours.

    Through the k nearest points (the point itself among them; fewer if the cloud has fewer) lies the plane of least
    squares in z. The values are the standard deviation of their heights over it, the cosine of its slope, the height
    of the point over it, and the height of the point over the lowest of them. Heights h become tanh(h / 0.3 m). The
    values do not change if the cloud is turned around z.
    """
    values = coord.new_zeros((len(coord), 4 * len(neighbours)))
    if not len(coord):
        return values
    most = min(max(neighbours), len(coord))
    rows, _ = knn_query(most, coord, torch.full((1,), len(coord), device=coord.device))
    axes = coord.T.contiguous()
    step = CHUNK_POINTS[coord.device.type]
    for start in range(0, len(coord), step):
        chunk = slice(start, start + step)
        near = rows[chunk].reshape(-1)
        around = [(axis.index_select(0, near).view(-1, most) - axis[chunk, None]) for axis in axes]
        for place, number in enumerate(neighbours):
            values[chunk, 4 * place : 4 * place + 4] = _of_groups(*(axis[:, :number] for axis in around))
    return values


def _of_groups(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """(M, 4) of the places x, y, z (M, K) of K points seen from the point they surround."""
    lowest = z.amin(1)
    middle = [axis.mean(1) for axis in (x, y, z)]
    x, y, z = (axis - mean[:, None] for axis, mean in zip((x, y, z), middle, strict=True))
    least = LEAST_SPREAD_M**2
    xx, yy, zz = ((axis * axis).mean(1) for axis in (x, y, z))
    xy, xz, yz = ((one * other).mean(1) for one, other in ((x, y), (x, z), (y, z)))
    xx, yy = xx + least, yy + least
    determinant = xx * yy - xy * xy
    along_x, along_y = (yy * xz - xy * yz) / determinant, (xx * yz - xy * xz) / determinant
    spread_m = (zz - along_x * xz - along_y * yz).clamp_(min=0).sqrt_()
    over_plane_m = along_x * middle[0] + along_y * middle[1] - middle[2]
    heights = (torch.stack([spread_m, over_plane_m, -lowest], 1) / SCALE_M).tanh_()
    slope = (1 + along_x**2 + along_y**2).rsqrt_()
    return torch.column_stack([heights[:, :1], slope, heights[:, 1:]])
