"""Queries for neighbours among the points of the same cloud."""

import torch
from torch import Tensor

from . import reference
from .checks import check_devices, check_points, check_same_clouds
from .extension import compiled_for

MAX_NEIGHBOURS = 128


@torch.no_grad()
def knn_query(
    nsample: int, xyz: Tensor, offset: Tensor, new_xyz: Tensor | None = None, new_offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The nearest points of each query, nearest first, equal distances by index.

    xyz (n, 3) float32, offset (b,) cumulative counts of the clouds; new_xyz (m, 3), new_offset (b,) the queries, by
    default the points. Returns indices (m, nsample) int32 and distances (m, nsample) float32; where a cloud has too few
    points they are -1 and 1e5. Points with a coordinate that is not finite are no neighbours and have none. Raises
    ValueError for wrong shapes, dtypes, devices, offsets, and for nsample outside of 1 … 128.
    """
    if not 1 <= nsample <= MAX_NEIGHBOURS:
        raise ValueError(f"nsample is {nsample}; between 1 and {MAX_NEIGHBOURS} neighbours can be asked for")
    clouds = _clouds(xyz, offset, new_xyz, new_offset)
    index, distance2 = _operators(xyz).knn_query(*clouds, int(nsample))
    return index, distance2.sqrt_()


def ball_query(
    nsample: int,
    max_radius: float,
    min_radius: float,
    xyz: Tensor,
    offset: Tensor,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Points at a distance of min_radius ≤ d < max_radius from each query, or closer than 3.2 mm.

    Arguments and results as of knn_query. Up to nsample points come all, more are thinned evenly, in the order of
    Pointcept's kernel: only roughly by distance, for its heap sort starts from what is no heap. Distances are right for
    every choice; Pointcept's own are not where it thins.
    """
    return _ball_query(nsample, max_radius, min_radius, xyz, offset, new_xyz, new_offset, ranked=False)


def random_ball_query(
    nsample: int,
    max_radius: float,
    min_radius: float,
    xyz: Tensor,
    offset: Tensor,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """As ball_query, with the first nsample points of a random order of each cloud (from torch's global generator)."""
    return _ball_query(nsample, max_radius, min_radius, xyz, offset, new_xyz, new_offset, ranked=True)


@torch.no_grad()
def _ball_query(
    nsample: int,
    max_radius: float,
    min_radius: float,
    xyz: Tensor,
    offset: Tensor,
    new_xyz: Tensor | None,
    new_offset: Tensor | None,
    ranked: bool,
) -> tuple[Tensor, Tensor]:
    if nsample < 1:
        raise ValueError(f"nsample is {nsample}; it is 1 or more")
    if not 0 <= min_radius < max_radius:
        raise ValueError(f"radii are {min_radius} and {max_radius}; 0 ≤ min_radius < max_radius")
    clouds = _clouds(xyz, offset, new_xyz, new_offset)
    rank = _random_rank(offset) if ranked else None
    radii = float(min_radius), float(max_radius)
    index, distance2 = _operators(xyz).ball_query(*clouds, int(nsample), *radii, rank)
    return index, distance2.sqrt_()


def _random_rank(offset: Tensor) -> Tensor:
    """The place of every point in a random order of its cloud, (n,) int32."""
    ends = offset.tolist()
    orders = [
        torch.randperm(end - begin, device=offset.device, dtype=torch.int32)
        for begin, end in zip([0, *ends[:-1]], ends, strict=True)
    ]
    return torch.cat([order.argsort() for order in orders]).to(torch.int32)


def _clouds(
    xyz: Tensor, offset: Tensor, new_xyz: Tensor | None, new_offset: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    offset = check_points("xyz", xyz, offset)
    if new_xyz is None or new_offset is None:
        return xyz, offset, xyz, offset
    check_devices({"xyz": xyz, "new_xyz": new_xyz})
    new_offset = check_points("new_xyz", new_xyz, new_offset)
    check_same_clouds(offset, new_offset)
    return xyz, offset, new_xyz, new_offset


def _operators(xyz: Tensor):
    return torch.ops.pointops if compiled_for(xyz) else reference
