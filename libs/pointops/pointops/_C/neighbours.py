"""Neighbours and samples, written into tensors of the caller."""

import torch
from torch import Tensor

from ..checks import check_devices, check_floats, check_order
from ..neighbours import in_shell, nearest, points_and_queries
from ..sampling import farthest_point_sampling
from .outputs import check_counts, write


@torch.no_grad()
def knn_query_cuda(
    m: int,
    nsample: int,
    xyz: Tensor,
    new_xyz: Tensor,
    offset: Tensor,
    new_offset: Tensor,
    idx: Tensor,
    dist2: Tensor,
) -> None:
    """Writes idx (m, nsample) int32 and dist2 (m, nsample) float32, squared; see pointops.knn_query."""
    clouds = points_and_queries(xyz, offset, new_xyz, new_offset)
    index, distance2 = nearest(nsample, clouds)
    check_counts(index.shape, m=m, nsample=nsample)
    write(idx=(idx, index), dist2=(dist2, distance2))


@torch.no_grad()
def ball_query_cuda(
    m: int,
    nsample: int,
    min_radius: float,
    max_radius: float,
    xyz: Tensor,
    new_xyz: Tensor,
    offset: Tensor,
    new_offset: Tensor,
    idx: Tensor,
    dist2: Tensor,
) -> None:
    """Writes idx (m, nsample) int32 and dist2 (m, nsample) float32, squared; see pointops.ball_query."""
    clouds = points_and_queries(xyz, offset, new_xyz, new_offset)
    index, distance2 = in_shell(nsample, max_radius, min_radius, clouds, None)
    check_counts(index.shape, m=m, nsample=nsample)
    write(idx=(idx, index), dist2=(dist2, distance2))


@torch.no_grad()
def random_ball_query_cuda(
    m: int,
    nsample: int,
    min_radius: float,
    max_radius: float,
    order: Tensor,
    xyz: Tensor,
    new_xyz: Tensor,
    offset: Tensor,
    new_offset: Tensor,
    idx: Tensor,
    dist2: Tensor,
) -> None:
    """As ball_query_cuda, with the first nsample points in ``order``, int32 (n,): each cloud's points in any order."""
    clouds = points_and_queries(xyz, offset, new_xyz, new_offset)
    rank = check_order("order", order, clouds[1], xyz.shape[0]).argsort().to(torch.int32)
    index, distance2 = in_shell(nsample, max_radius, min_radius, clouds, rank)
    check_counts(index.shape, m=m, nsample=nsample)
    write(idx=(idx, index), dist2=(dist2, distance2))


@torch.no_grad()
def farthest_point_sampling_cuda(
    b: int, n: int, xyz: Tensor, offset: Tensor, new_offset: Tensor, tmp: Tensor, idx: Tensor
) -> None:
    """Writes idx (new_offset[-1],) int32 of b clouds; see pointops.farthest_point_sampling.

    n, the points of the largest cloud, and tmp (points,) float32 are taken for compatibility, without effect.
    """
    index = farthest_point_sampling(xyz, offset, new_offset)
    check_counts(offset.shape, b=b)
    check_floats("tmp", tmp, xyz.shape[0])
    check_devices({"xyz": xyz, "tmp": tmp})
    write(idx=(idx, index))
