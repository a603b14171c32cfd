"""Queries for neighbors among the points of one cloud."""

from typing import Any

import torch
from torch import Tensor

from . import reference
from .checks import check_devices, check_points, check_same_clouds
from .extension import compiled_for

MAX_NEIGHBOURS = 128

Clouds = tuple[Tensor, Tensor, Tensor, Tensor]  # points, their offset, queries, their offset


@torch.no_grad()
def knn_query(
    nsample: int, xyz: Tensor, offset: Tensor, new_xyz: Tensor | None = None, new_offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The nearest points of each query in its cloud, nearest first, equal distances by index.

    Points with a coordinate that is not finite are no neighbours and have none.

    Args:
        nsample: neighbours of each query, 1 to 128.
        xyz: float32 (n, 3), contiguous, the points, cloud after cloud.
        offset: int32 or int64 (b,), cumulative counts of the points by cloud.
        new_xyz: float32 (m, 3), contiguous, the queries; None if these are the points.
        new_offset: int32 or int64 (b,), cumulative counts of the queries.

    Returns:
        Indices int32 (m, nsample), rows of ``xyz``, and distances float32 (m, nsample) in its unit; -1 and 1e5 where a
        cloud has too few points.

    Raises:
        ValueError: wrong shape, dtype, layout, device, offsets or nsample.
    """
    index, distance2 = nearest(nsample, points_and_queries(xyz, offset, new_xyz, new_offset))
    return index, distance2.sqrt_()


@torch.no_grad()
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

    Up to nsample points come all, more are thinned evenly, in the order of Pointcept's kernel: only roughly by
    distance, for its heap sort starts from what is no heap. Distances are right for every choice; Pointcept's own are
    not if it thins.

    Args:
        nsample: most points of each query, 1 or more.
        max_radius, min_radius: in the unit of ``xyz``, 0 ≤ min_radius < max_radius.
        xyz, offset, new_xyz, new_offset: as for ``knn_query``.

    Returns:
        Indices and distances as of ``knn_query``.

    Raises:
        ValueError: wrong shape, dtype, layout, device, offsets, nsample or radii.
    """
    clouds = points_and_queries(xyz, offset, new_xyz, new_offset)
    index, distance2 = in_shell(nsample, max_radius, min_radius, clouds, None)
    return index, distance2.sqrt_()


@torch.no_grad()
def random_ball_query(
    nsample: int,
    max_radius: float,
    min_radius: float,
    xyz: Tensor,
    offset: Tensor,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """As ``ball_query``, but of more than nsample points the first in a random order of the cloud.

    The order is drawn from torch's global generator. Arguments, results and errors are those of ``ball_query``.
    """
    clouds = points_and_queries(xyz, offset, new_xyz, new_offset)
    rank = _random_rank(xyz, offset)
    index, distance2 = in_shell(nsample, max_radius, min_radius, clouds, rank)
    return index, distance2.sqrt_()


def points_and_queries(xyz: Tensor, offset: Tensor, new_xyz: Tensor | None, new_offset: Tensor | None) -> Clouds:
    """Checked, offsets as int64; the points are the queries if no others are given."""
    offset = check_points("xyz", xyz, offset)
    if new_xyz is None or new_offset is None:
        return xyz, offset, xyz, offset
    check_devices({"xyz": xyz, "new_xyz": new_xyz})
    new_offset = check_points("new_xyz", new_xyz, new_offset)
    check_same_clouds(offset, new_offset)
    return xyz, offset, new_xyz, new_offset


def nearest(nsample: int, clouds: Clouds) -> tuple[Tensor, Tensor]:
    """As knn_query, with squared distances, 1e10 if there is no neighbor."""
    if not 1 <= nsample <= MAX_NEIGHBOURS:
        raise ValueError(f"nsample is {nsample}; between 1 and {MAX_NEIGHBOURS} neighbours can be asked for")
    return _operators(clouds).knn_query(*clouds, int(nsample))


def in_shell(
    nsample: int, max_radius: float, min_radius: float, clouds: Clouds, rank: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As ball_query, or with rank (n,) int32 the points of lowest rank, with squared distances."""
    if nsample < 1:
        raise ValueError(f"nsample is {nsample}; it is 1 or more")
    if not 0 <= min_radius < max_radius:
        raise ValueError(f"radii are {min_radius} and {max_radius}; 0 ≤ min_radius < max_radius")
    return _operators(clouds).ball_query(*clouds, int(nsample), float(min_radius), float(max_radius), rank)


def _random_rank(xyz: Tensor, offset: Tensor) -> Tensor:
    """The place of every point in a random order of its cloud, (n,) int32, drawn as Pointcept does."""
    if torch.compiler.is_compiling():  # how many points a cloud has is not known: all of them in one order
        return torch.randperm(xyz.shape[0], device=xyz.device, dtype=torch.int32)
    ends = offset.tolist()
    orders = [
        torch.randperm(end - begin, device=offset.device, dtype=torch.int32)
        for begin, end in zip([0, *ends[:-1]], ends, strict=True)
    ]
    return torch.cat([order.argsort() for order in orders]).to(torch.int32)


def _operators(clouds: Clouds) -> Any:
    return torch.ops.pointops if compiled_for(clouds[0]) else reference
