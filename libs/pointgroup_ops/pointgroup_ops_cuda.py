"""The functions of the module that lies under Pointcept's pointgroup_ops: they fill tensors of the caller."""

import pointgroup_ops
from torch import Tensor

__all__ = ["ballquery_batch_p", "bfs_cluster"]


def ballquery_batch_p(
    xyz: Tensor,
    batch_idxs: Tensor,
    batch_offsets: Tensor,
    idx: Tensor,
    start_len: Tensor,
    n: int,
    mean_active: int,
    radius: float,
) -> int:
    """Fill ``idx``, int32 (n * mean_active,), as far as the neighbours reach or fit, and ``start_len``, int32 (n, 2).

    Returns the number of neighbours, which may be more than fitted; see ``pointgroup_ops.ballquery_batch_p``.
    """
    _check_count("xyz", xyz, n)
    neighbours, ranges = pointgroup_ops.ballquery_batch_p(xyz, batch_idxs, batch_offsets, radius)
    fitting = neighbours[: n * mean_active]
    if len(idx) < len(fitting):
        raise ValueError(f"idx must have n * mean_active = {n * mean_active} entries, got {len(idx)}")
    idx[: len(fitting)] = fitting
    start_len.copy_(ranges)
    return len(neighbours)


def bfs_cluster(
    semantic_label: Tensor,
    ball_query_idxs: Tensor,
    start_len: Tensor,
    cluster_idxs: Tensor,
    cluster_offsets: Tensor,
    n: int,
    threshold: int,
) -> None:
    """Resize and fill ``cluster_idxs`` and ``cluster_offsets``, int32; see ``pointgroup_ops.bfs_cluster``."""
    _check_count("start_len", start_len, n)
    rows, offsets = pointgroup_ops.bfs_cluster(semantic_label, ball_query_idxs, start_len, threshold)
    cluster_idxs.resize_(rows.shape).copy_(rows)
    cluster_offsets.resize_(offsets.shape).copy_(offsets)


def _check_count(name: str, tensor: Tensor, n: int) -> None:
    if len(tensor) != n:
        raise ValueError(f"n must be the length of {name}, {len(tensor)}, got {n}")
