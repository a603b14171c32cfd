"""Roughness of the surface around each point, by which networks tell crops from soil and roofs from crowns."""

from collections.abc import Sequence

import torch
from pointops import knn_query, neighbour_moments
from torch import Tensor

from .neighbours import chunks
from .out_of_memory import is_out_of_memory
from .sample import Sample

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


def roughness_of(coord: Tensor, neighbours: Sequence[int], ends: Tensor | None = None) -> Tensor:
    """float32 (N, 4 * len(neighbours)) of ``coord`` float32 (N, 3): four values a number of neighbours.

    ``ends`` int64 (B,) says where each of B clouds among them ends; without it they are one.

    Through the k nearest points (the point itself among them; fewer if the cloud has fewer) lies the plane of least
    squares in z. The values are the standard deviation of their heights over it, the cosine of its slope, the height
    of the point over it, and the height of the point over the lowest of them. Heights h become tanh(h / 0.3 m). The
    values do not change if the cloud is turned around z.
    """
    values = coord.new_zeros((len(coord), 4 * len(neighbours)))
    if not len(coord):
        return values
    most = min(max(neighbours), len(coord))
    rows, _ = knn_query(most, coord, torch.full((1,), len(coord), device=coord.device) if ends is None else ends)
    for chunk in chunks(coord):
        for place, number in enumerate(neighbours):
            moments = neighbour_moments(rows[chunk], min(number, most), coord, coord[chunk])
            values[chunk, 4 * place : 4 * place + 4] = _of_moments(*moments)
    return values


def _of_moments(
    x: Tensor,
    y: Tensor,
    z: Tensor,
    xx: Tensor,
    xy: Tensor,
    xz: Tensor,
    yy: Tensor,
    yz: Tensor,
    zz: Tensor,
    lowest: Tensor,
) -> Tensor:
    """(M, 4) of the moments of M groups of points, each float64 (M,), seen from the point they surround."""
    least = LEAST_SPREAD_M**2
    xx, yy = xx + least, yy + least
    determinant = xx * yy - xy * xy
    along_x, along_y = (yy * xz - xy * yz) / determinant, (xx * yz - xy * xz) / determinant
    spread_m = (zz - along_x * xz - along_y * yz).clamp_(min=0).sqrt_()
    over_plane_m = along_x * x + along_y * y - z
    slope = (1 + along_x**2 + along_y**2).rsqrt_()
    heights = [(height_m / SCALE_M).tanh_() for height_m in (spread_m, over_plane_m, -lowest)]
    return torch.stack([heights[0], slope, *heights[1:]], 1)
