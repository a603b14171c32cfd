"""The public functions: arguments checked, then the compiled operators or, without them, the reference."""

import torch
from torch import Tensor

from . import reference
from .checks import check
from .extension import ARCHITECTURES, compiled_for

# half the least float32, which rounds to 0, and half a step beyond the largest, which rounds to infinity
NO_RADIUS, ENDLESS_RADIUS = 2.0**-150, 2.0**128 * (1 - 2.0**-25)

if ARCHITECTURES:

    @torch.library.register_fake("pointgroup_ops::ball_query")
    def _(coords: Tensor, batch_idxs: Tensor, batch_offsets: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        num_pairs = torch.library.get_ctx().new_dynamic_size()
        return batch_idxs.new_empty(num_pairs), batch_idxs.new_empty(coords.shape[0], 2)

    @torch.library.register_fake("pointgroup_ops::bfs_cluster")
    def _(labels: Tensor, idxs: Tensor, start_len: Tensor, threshold: int) -> tuple[Tensor, Tensor]:
        num_rows = torch.library.get_ctx().new_dynamic_size()
        num_offsets = torch.library.get_ctx().new_dynamic_size(min=1)
        return labels.new_empty(num_rows, 2), labels.new_empty(num_offsets)


def ballquery_batch_p(
    coords: Tensor, batch_idxs: Tensor, batch_offsets: Tensor, radius: float, mean_active: int = 300
) -> tuple[Tensor, Tensor]:
    """For every point the points of its cloud closer than ``radius``, itself included.

    Args:
        coords: float32 (N, 3), in the unit of ``radius``.
        batch_idxs: int32 (N,), the cloud of each point, ascending.
        batch_offsets: int32 (B + 1,), where each cloud begins, and N.
        radius: positive; d² < radius² in float32 counts as closer.
        mean_active: taken for compatibility, without effect: room is made for all neighbours.

    Returns:
        idx: int32 (P,), indices into ``coords``, ascending for each point, at most its first 1000.
        start_len: int32 (N, 2), where the neighbours of each point start in ``idx``, rising, and how many they are. A
        point that is not finite has none.

    Raises:
        ValueError: an argument is not as above, or P does not fit into int32.
    """
    check("coords", coords, torch.float32, ("N", 3))
    check("batch_idxs", batch_idxs, torch.int32, (coords.shape[0],), coords.device)
    check("batch_offsets", batch_offsets, torch.int32, ("B + 1",), coords.device)
    if batch_offsets.shape[0] == 0:
        raise ValueError("batch_offsets must have at least one entry, 0, got none")
    if not NO_RADIUS < radius < ENDLESS_RADIUS:
        raise ValueError(f"radius must be positive and finite in float32, got {radius}")
    query = torch.ops.pointgroup_ops.ball_query if compiled_for(coords) else reference.ball_query
    return query(coords.detach(), batch_idxs, batch_offsets, radius)


def bfs_cluster(
    semantic_label: Tensor, ball_query_idxs: Tensor, start_len: Tensor, threshold: int
) -> tuple[Tensor, Tensor]:
    """Groups of points of one label that hang together by their neighbours. All tensors are on the CPU.

    Every group is visited breadth first from its lowest index, neighbours in their order.

    Args:
        semantic_label: int32 (N,).
        ball_query_idxs, start_len: int32 (P,) and (N, 2), as of ``ballquery_batch_p``.
        threshold: the least number of points of a group that is kept.

    Returns:
        cluster_idxs: int32 (S, 2), rows of cluster and point, in the order visited.
        cluster_offsets: int32 (C + 1,), where each cluster begins in ``cluster_idxs``, and S.

    Raises:
        ValueError: an argument is not as above.
    """
    cpu = torch.device("cpu")
    check("semantic_label", semantic_label, torch.int32, ("N",), cpu)
    check("ball_query_idxs", ball_query_idxs, torch.int32, ("P",), cpu)
    check("start_len", start_len, torch.int32, (semantic_label.shape[0], 2), cpu)
    cluster = torch.ops.pointgroup_ops.bfs_cluster if compiled_for(semantic_label) else reference.bfs_cluster
    return cluster(semantic_label, ball_query_idxs, start_len, int(threshold))
