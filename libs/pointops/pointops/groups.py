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
    """``grouping`` of the nsample nearest neighbors, or of idx (m, s) if it is given, and the indices."""
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
    """``grouping`` of what ``ball_query`` finds, or of idx (m, s) if it is given, and the indices."""
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
    """``grouping`` of every (dilation + 1)-th of the nearest neighbours, and the indices; without features only these.

    A cloud with fewer than 1 + (nsample - 1) (dilation + 1) points is spread over evenly.
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
    """The cloud of every point, (n,) int64, from the cumulative counts (b,). Raises ValueError if these are no such
    counts."""
    check_offset(offset.contiguous())
    counts = offset.diff(prepend=offset.new_zeros(1))
    return torch.arange(len(offset), device=offset.device).repeat_interleave(counts)


def batch2offset(batch: Tensor) -> Tensor:
    """The cumulative counts (b,) int32 from the cloud of every point, (n,) integers, or a ValueError."""
    check_batch("batch", batch.contiguous())
    return batch.bincount().cumsum(0).int()
