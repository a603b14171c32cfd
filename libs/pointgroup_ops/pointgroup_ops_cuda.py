"""The functions of the module that lies under Pointcept's pointgroup_ops: they fill tensors of the caller."""

import pointgroup_ops
import torch
from pointgroup_ops.checks import check
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
    """Fill ``idx``, int32 (n * mean_active,) or longer, as far as neighbours fit, and ``start_len``, int32 (n, 2).

    Returns the number of neighbours, which may be more than fitted; see ``pointgroup_ops.ballquery_batch_p``. Raises
    ValueError for what is refused there, and where ``idx``, ``start_len``, n or mean_active are not as above.
    """
    check("xyz", xyz, torch.float32, (n, 3))
    check("idx", idx, torch.int32, ("n * mean_active",), xyz.device)
    check("start_len", start_len, torch.int32, (n, 2), xyz.device)
    if not 0 <= n * mean_active <= len(idx):
        raise ValueError(f"idx must have n * mean_active = {n * mean_active} entries, got {len(idx)}")
    neighbours, ranges = pointgroup_ops.ballquery_batch_p(xyz, batch_idxs, batch_offsets, radius)
    fitting = neighbours[: n * mean_active]
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
    """Resize and fill ``cluster_idxs`` and ``cluster_offsets``, int32 of any shape, of clusters of n points.

    See ``pointgroup_ops.bfs_cluster``. Raises ValueError for what is refused there, and where n or the dtype or device
    of the two are not as above.
    """
    cpu = torch.device("cpu")
    check("start_len", start_len, torch.int32, (n, 2), cpu)
    check("cluster_idxs", cluster_idxs, torch.int32, None, cpu)
    check("cluster_offsets", cluster_offsets, torch.int32, None, cpu)
    rows, offsets = pointgroup_ops.bfs_cluster(semantic_label, ball_query_idxs, start_len, threshold)
    cluster_idxs.resize_(rows.shape).copy_(rows)
    cluster_offsets.resize_(offsets.shape).copy_(offsets)
