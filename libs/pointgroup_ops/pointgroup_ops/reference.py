"""The operators in plain torch: right on every device, the measure for compiled ones."""

from itertools import pairwise

import torch
from torch import Tensor

MAX_NEIGHBOURS = 1000
INT32_MAX = 2**31 - 1
PAIRS_AT_ONCE = 1 << 22


def ball_query(coords: Tensor, batch_idxs: Tensor, batch_offsets: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Neighbours of every point in its cloud; arguments and result as of ``ballquery_batch_p``."""
    _check_clouds(batch_idxs, batch_offsets)
    squared_radius = torch.tensor(radius, dtype=torch.float32).square().item()
    found = [torch.zeros(0, dtype=torch.int64, device=coords.device)]
    lengths = [found[0]]
    for begin, end in pairwise(batch_offsets.tolist()):
        cloud = coords[begin:end]
        for queries in cloud.split(max(PAIRS_AT_ONCE // max(len(cloud), 1), 1)):
            x, y, z = (queries[:, axis, None] - cloud[:, axis] for axis in range(3))  # (Q, N) each
            near = x * x + y * y + z * z < squared_radius
            near &= near.cumsum(1, dtype=torch.int32) <= MAX_NEIGHBOURS
            lengths.append(near.sum(1))
            found.append(near.nonzero()[:, 1] + begin)
    length = torch.cat(lengths)
    if length.sum() > INT32_MAX:
        raise ValueError(
            f"radius {radius} gives {int(length.sum())} neighbours in all, more than int32 counts; use a smaller one"
        )
    start_len = torch.stack([length.cumsum(0) - length, length], 1)
    return torch.cat(found).int(), start_len.int()


def bfs_cluster(labels: Tensor, idxs: Tensor, start_len: Tensor, threshold: int) -> tuple[Tensor, Tensor]:
    """Clusters of equal labels; arguments and result as of ``bfs_cluster`` of the package."""
    _check_neighbours(idxs, start_len)
    label_of, neighbours, ranges = labels.tolist(), idxs.tolist(), start_len.tolist()
    visited = [False] * len(ranges)
    rows: list[tuple[int, int]] = []
    offsets = [0]
    for seed in range(len(ranges)):
        if visited[seed]:
            continue
        visited[seed] = True
        cluster = [seed]
        for point in cluster:  # grows meanwhile
            start, length = ranges[point]
            for neighbour in neighbours[start : start + length]:
                if not visited[neighbour] and label_of[neighbour] == label_of[seed]:
                    visited[neighbour] = True
                    cluster.append(neighbour)
        if len(cluster) >= threshold:
            rows += [(len(offsets) - 1, point) for point in cluster]
            offsets.append(len(rows))
    return torch.tensor(rows, dtype=torch.int32).reshape(-1, 2), torch.tensor(offsets, dtype=torch.int32)


def _check_clouds(batch_idxs: Tensor, batch_offsets: Tensor) -> None:
    num_points, sizes = len(batch_idxs), batch_offsets.diff()
    if batch_offsets[0] != 0 or batch_offsets[-1] != num_points or (sizes < 0).any():
        raise ValueError(f"batch_offsets must rise from 0 to the number of points, {num_points}")
    expected = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
    wrong = (batch_idxs != expected).nonzero().flatten()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"batch_idxs[{row}] must be {int(expected[row])}, the cloud of the point by batch_offsets, "
            f"got {int(batch_idxs[row])}"
        )


def _check_neighbours(idxs: Tensor, start_len: Tensor) -> None:
    num_points, num_pairs = len(start_len), len(idxs)
    start, length = start_len.long().unbind(1)
    wrong = ((start < 0) | (length < 0) | (start + length > num_pairs)).nonzero().flatten()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"start_len[{row}] must be a range within the {num_pairs} ball_query_idxs, "
            f"got start {int(start[row])} and length {int(length[row])}"
        )
    wrong = ((idxs < 0) | (idxs >= num_points)).nonzero().flatten()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(f"ball_query_idxs[{row}] must be one of the {num_points} points, got {int(idxs[row])}")
