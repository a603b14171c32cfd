"""Queries and grouping in one call; conversion between the two ways to state the cloud of each point."""

import torch
from torch import Tensor

from .checks import check_batch, check_offset
from .features import grouping
from .neighbours import MAX_NEIGHBOURS, ball_query, knn_query


def knn_query_and_group(
    feat: Tensor,
    xyz: Tensor,
    offset: Tensor | None = None,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
    idx: Tensor | None = None,
    nsample: int | None = None,
    with_xyz: bool = False,
) -> tuple[Tensor, Tensor]:
    """``grouping`` of the nearest neighbours of each query, or of those given.

    Args:
        feat, xyz, new_xyz, with_xyz: as for ``grouping``.
        offset, new_offset, nsample: as for ``knn_query``; needed without ``idx``.
        idx: int32 or int64 (m, s), neighbours that are known already.

    Returns:
        What ``grouping`` gives, and the indices int32 (m, nsample), or ``idx``.

    Raises:
        ValueError: as both, and if neither ``idx`` nor what finds it is given.
    """
    if idx is None:
        if nsample is None or offset is None:
            raise ValueError("knn_query_and_group needs idx, or nsample and offset")
        idx, _ = knn_query(nsample, xyz, offset, new_xyz, new_offset)
    return grouping(idx, feat, xyz, new_xyz, with_xyz), idx


def ball_query_and_group(
    feat: Tensor,
    xyz: Tensor,
    offset: Tensor | None = None,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
    idx: Tensor | None = None,
    max_radio: float | None = None,
    min_radio: float = 0,
    nsample: int | None = None,
    with_xyz: bool = False,
) -> tuple[Tensor, Tensor]:
    """``grouping`` of the points around each query that ``ball_query`` finds, or of those given.

    Args:
        feat, xyz, new_xyz, with_xyz: as for ``grouping``.
        offset, new_offset, nsample: as for ``ball_query``; needed without ``idx``.
        idx: int32 or int64 (m, s), neighbours that are known already.
        max_radio, min_radio: its radii, under Pointcept's names.

    Returns:
        What ``grouping`` gives, and the indices int32 (m, nsample), or ``idx``.

    Raises:
        ValueError: as both, and if neither ``idx`` nor what finds it is given.
    """
    if idx is None:
        if nsample is None or offset is None or max_radio is None:
            raise ValueError("ball_query_and_group needs idx, or nsample, offset and max_radio")
        idx, _ = ball_query(nsample, max_radio, min_radio, xyz, offset, new_xyz, new_offset)
    return grouping(idx, feat, xyz, new_xyz, with_xyz), idx


def query_and_group(
    nsample: int,
    xyz: Tensor,
    new_xyz: Tensor | None,
    feat: Tensor,
    idx: Tensor | None,
    offset: Tensor,
    new_offset: Tensor,
    dilation: int = 0,
    with_feat: bool = True,
    with_xyz: bool = True,
) -> tuple[Tensor, Tensor] | Tensor:
    """``grouping`` of every (dilation + 1)-th of the nearest neighbours.

    In a cloud of fewer than 1 + (nsample - 1) (dilation + 1) points neighbours are taken at even steps.

    Args:
        nsample: neighbours of each query.
        xyz, new_xyz, feat, with_xyz: as for ``grouping``.
        idx: int32 or int64 (m, s), neighbours that are known already, or None.
        offset, new_offset: int32 or int64 (b,), cumulative counts of points and queries by cloud.
        dilation: neighbours that are passed over between two.
        with_feat: whether features are wanted.

    Returns:
        What ``grouping`` gives, and the indices int32 (m, nsample); the indices alone if not ``with_feat``.

    Raises:
        ValueError: as ``grouping`` and ``knn_query``, and if more than 128 neighbours would be looked through.
    """
    if new_xyz is None:
        new_xyz = xyz
    if idx is None:
        idx = _dilated_query(nsample, dilation, xyz, offset, new_xyz, new_offset)
    if not with_feat:
        return idx
    return grouping(idx, feat, xyz, new_xyz, with_xyz), idx


def _dilated_query(
    nsample: int, dilation: int, xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor
) -> Tensor:
    reach = 1 + (nsample - 1) * (dilation + 1)
    if dilation and reach > MAX_NEIGHBOURS:
        raise ValueError(
            f"nsample {nsample} with dilation {dilation} chooses from the {reach} nearest; "
            f"at most {MAX_NEIGHBOURS} can be asked for"
        )
    index, _ = knn_query(reach, xyz, offset, new_xyz, new_offset)
    points = offset.diff(prepend=offset.new_zeros(1)).double()  # of each cloud
    step = torch.where(points >= reach, dilation + 1.0, (points - 1) / max(nsample - 1, 1))
    rows = torch.arange(new_xyz.shape[0], device=offset.device)
    cloud = torch.searchsorted(new_offset[:-1], rows.to(new_offset.dtype), right=True)
    columns = (step[cloud, None] * torch.arange(nsample, device=offset.device)).long()
    return index.gather(1, columns.clamp(min=0))  # an empty cloud would count backwards


def offset2batch(offset: Tensor) -> Tensor:
    """The number of the cloud of every point, int64 (n,).

    ``offset`` is int32 or int64 (b,), cumulative counts of points. Raises ValueError if it is not.
    """
    check_offset(offset.contiguous())
    counts = offset.diff(prepend=offset.new_zeros(1))
    return torch.arange(len(offset), device=offset.device).repeat_interleave(counts)


def batch2offset(batch: Tensor) -> Tensor:
    """The cumulative counts of points by cloud, int32 (b,).

    ``batch`` is int32 or int64 (n,), the number of the cloud of every point, from 0. Raises ValueError if it is not.
    """
    check_batch("batch", batch.contiguous())
    return batch.bincount().cumsum(0).int()
