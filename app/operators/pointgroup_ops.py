"""The operators of pointgroup_ops."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pointgroup_ops
import torch
from torch import Generator, Tensor

from .operator import Arguments, Golden, Operator

RADIUS = 1.5


def _lattice(generator: Generator, number: int) -> Tensor:
    """float32 (N, 3) points of a lattice, some of them twice."""
    return torch.randint(0, max(round((2 * number) ** (1 / 3)), 2), (number, 3), generator=generator).float()


def _balls_arguments(generator: Generator, number: int) -> Arguments:
    batch = (torch.arange(number) >= number // 3).int()
    offsets = torch.tensor([0, number // 3, number], dtype=torch.int32)
    return {"coords": _lattice(generator, number), "batch_idxs": batch, "batch_offsets": offsets, "radius": RADIUS}


def _balls_expected(given: Arguments) -> Any:
    coords, batch = given["coords"], given["batch_idxs"]
    near = (coords[:, None] - coords).square().sum(2) < RADIUS**2
    near &= batch[:, None] == batch
    lengths = near.sum(1)
    return near.nonzero()[:, 1], torch.stack([lengths.cumsum(0) - lengths, lengths], 1)


def _clusters_arguments(generator: Generator, number: int) -> Arguments:
    balls = _balls_arguments(generator, number)
    idxs, start_len = pointgroup_ops.ballquery_batch_p(**balls)
    labels = torch.randint(0, 2, (number,), generator=generator).int()
    return {"semantic_label": labels, "ball_query_idxs": idxs, "start_len": start_len, "threshold": 1}


def _clusters_expected(given: Arguments) -> Tensor:
    """The component of every point, by SciPy."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    labels, lengths = given["semantic_label"], given["start_len"][:, 1].long()
    one, other = torch.arange(len(labels)).repeat_interleave(lengths), given["ball_query_idxs"].long()
    alike = labels[one] == labels[other]
    edges = torch.ones(int(alike.sum())).numpy(), (one[alike].numpy(), other[alike].numpy())
    return torch.from_numpy(connected_components(csr_array(edges, shape=(len(labels),) * 2))[1])


def _components(result: Any, given: Arguments) -> Tensor:
    rows, _ = result
    component = torch.full((len(given["semantic_label"]),), -1)
    component[rows[:, 1].long()] = rows[:, 0].long()
    return component


_operator = partial(Operator, "pointgroup_ops")
OPERATORS = [
    _operator("ballquery_batch_p", _balls_arguments, _balls_expected, linear=False),
    _operator(
        "bfs_cluster",
        _clusters_arguments,
        _clusters_expected,
        _components,
        on_host=frozenset({"semantic_label", "ball_query_idxs", "start_len"}),
        devices=("cpu",),
    ),
]


def _ballquery_bfs_cluster(given: dict[str, Tensor], params: Mapping[str, Any]) -> dict[str, Tensor]:
    clouds = given["batch_idxs"], given["batch_offsets"]
    idx, start_len = pointgroup_ops.ballquery_batch_p(given["xyz"], *clouds, params["radius"], params["mean_active"])
    rows, offsets = pointgroup_ops.bfs_cluster(given["labels"].cpu(), idx.cpu(), start_len.cpu(), params["threshold"])
    return {"idx": idx, "start_len": start_len, "cluster_idxs": rows, "cluster_offsets": offsets}


GOLDENS: dict[str, Golden] = {"op_ballquery_bfs_cluster": _ballquery_bfs_cluster}
