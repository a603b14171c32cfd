"""The operators of pointops."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pointops
import torch
from torch import Generator, Tensor

from . import pointops_expected as expected
from .operator import Arguments, Golden, Operator
from .pointops_expected import CHANNELS, HEADS, NEIGHBOURS, RADIUS_M, WIDTH


def _points(generator: Generator, number: int) -> Tensor:
    """float32 (N, 3), about one in a volume of 0.1."""
    return torch.rand(number, 3, generator=generator) * (number / 10) ** (1 / 3)


def _cloud(generator: Generator, number: int) -> Arguments:
    """Points of two clouds, and where each ends."""
    return {"xyz": _points(generator, number), "offset": torch.tensor([number // 3, number])}


def _queries(generator: Generator, number: int, **others: Any) -> Arguments:
    """Two clouds and queries among them."""
    few = max(number // 2, 2)
    return {
        **_cloud(generator, number),
        "new_xyz": _points(generator, few),
        "new_offset": torch.tensor([few // 2, few]),
        **others,
    }


def _taken(result: Any, given: Arguments) -> Tensor:
    """The number of neighbors, or -1 if one is not at the distance that was given for it."""
    idx, distance = result
    true = expected.distances(given).gather(1, idx.long().clamp(min=0))
    wrong = ((true - distance).abs() > 1e-4) & (idx >= 0)
    return torch.where(wrong.any(1), -1, (idx >= 0).sum(1))


def _sampling_arguments(generator: Generator, number: int) -> Arguments:
    cloud = _cloud(generator, number)
    return {**cloud, "new_offset": cloud["offset"] // 8 + torch.tensor([1, 2])}


def _surplus(result: Any, given: Arguments) -> Tensor:
    """By how much the samples before leave a gap larger than the one each sample fills."""
    surplus, first, begin = [], 0, 0
    for last, end in zip(given["new_offset"].tolist(), given["offset"].tolist(), strict=True):
        points, samples = given["xyz"][begin:end], result[first:last].long() - begin
        distance = (points[samples, None] - points).norm(dim=2)  # (samples, points)
        gaps = distance.cummin(0).values
        surplus += [gaps[place - 1].max() - gaps[place - 1, samples[place]] for place in range(1, len(samples))]
        first, begin = last, end
    return torch.stack(surplus)


def _edges(generator: Generator, number: int) -> Tensor:
    """int32 (N, NEIGHBOURS), rows out of ``number``, -1 for none."""
    return torch.randint(-1, number, (number, NEIGHBOURS), generator=generator).int()


def _features(generator: Generator, number: int, *shape: int) -> Tensor:
    return torch.randn(number, *shape, generator=generator)


def _grouping_arguments(generator: Generator, number: int) -> Arguments:
    idx, feat = _edges(generator, number), _features(generator, number, CHANNELS)
    xyz, new_xyz = _points(generator, number), _points(generator, number)
    return {"idx": idx, "feat": feat, "xyz": xyz, "new_xyz": new_xyz, "with_xyz": True}


def _moments_arguments(generator: Generator, number: int) -> Arguments:
    idx, xyz = _edges(generator, number), _points(generator, number)
    return {"idx": idx, "nsample": NEIGHBOURS - 1, "xyz": xyz, "new_xyz": _points(generator, number)}


def _subtraction_arguments(generator: Generator, number: int) -> Arguments:
    one, other = _features(generator, number, CHANNELS), _features(generator, number, CHANNELS)
    return {"input1": one, "input2": other, "idx": _edges(generator, number)}


def _aggregation_arguments(generator: Generator, number: int) -> Arguments:
    return {
        "input": _features(generator, number, CHANNELS),
        "position": _features(generator, number, NEIGHBOURS, CHANNELS),
        "weight": _features(generator, number, NEIGHBOURS, WIDTH),
        "idx": _edges(generator, number),
    }


def _with_features(generator: Generator, number: int, **others: Any) -> Arguments:
    return {**_queries(generator, number), "feat": _features(generator, number, CHANNELS), **others}


def _relation_arguments(generator: Generator, number: int) -> Arguments:
    query, key = _features(generator, 2, number, HEADS, CHANNELS // HEADS).unbind(0)
    target, refer = torch.randint(0, number, (2, NEIGHBOURS * number), generator=generator).unbind(0)
    weight = torch.randn(CHANNELS // HEADS, generator=generator)
    return {"query": query, "key": key, "weight": weight, "index_target": target, "index_refer": refer}


def _fusion_arguments(generator: Generator, number: int) -> Arguments:
    target, refer = torch.randint(0, number, (2, NEIGHBOURS * number), generator=generator).unbind(0)
    weight, value = _features(generator, len(target), HEADS), _features(generator, number, HEADS, CHANNELS // HEADS)
    return {"weight": weight, "value": value, "index_target": target, "index_refer": refer}


def _grouped(result: Any, given: Arguments) -> Tensor:
    """Distances to the neighbors in the order of the indices, which are the first columns."""
    grouped, idx = result
    return torch.where(idx >= 0, grouped[..., :3].norm(dim=2).double(), 1e5)


def _grouped_sizes(result: Any, given: Arguments) -> Tensor:
    """The number of neighbors, or -1 if one is farther off than the radius."""
    grouped, idx = result
    far = (grouped[..., :3].norm(dim=2) > RADIUS_M) & (idx >= 0)
    return torch.where(far.any(1), -1, (idx >= 0).sum(1))


BALL: Arguments = {"nsample": NEIGHBOURS, "max_radius": RADIUS_M, "min_radius": 0.0}
_operator = partial(Operator, "pointops")
OPERATORS = [
    _operator(
        "knn_query",
        partial(_queries, nsample=NEIGHBOURS),
        expected.nearest,
        lambda result, given: result[1],
        tolerance=1e-4,
        linear=False,
    ),
    _operator("ball_query", partial(_queries, **BALL), expected.in_ball, _taken, linear=False),
    _operator("random_ball_query", partial(_queries, **BALL), expected.in_ball, _taken, linear=False, repeats=False),
    _operator(
        "farthest_point_sampling",
        _sampling_arguments,
        lambda given: torch.zeros(int(given["new_offset"][-1]) - len(given["offset"])),
        _surplus,
        tolerance=1e-4,
        linear=False,
    ),
    _operator("neighbour_moments", _moments_arguments, expected.moments, tolerance=1e-9),
    _operator("grouping", _grouping_arguments, expected.grouping, tolerance=1e-5, gradients=("feat", "xyz", "new_xyz")),
    _operator(
        "grouping2",
        lambda generator, number: {"input": _features(generator, number, 7), "idx": _edges(generator, number)},
        lambda given: expected.rows_at(given["input"], given["idx"]),
        gradients=("input",),
    ),
    _operator(
        "subtraction",
        _subtraction_arguments,
        lambda given: given["input1"][:, None] - expected.rows_at(given["input2"], given["idx"]),
        gradients=("input1", "input2"),
    ),
    _operator(
        "aggregation",
        _aggregation_arguments,
        expected.aggregation,
        tolerance=1e-4,
        gradients=("input", "position", "weight"),
    ),
    _operator(
        "interpolation", _with_features, expected.interpolation, tolerance=1e-4, linear=False, gradients=("feat",)
    ),
    _operator(
        "attention_relation_step",
        _relation_arguments,
        expected.relation,
        tolerance=1e-4,
        gradients=("query", "key", "weight"),
    ),
    _operator(
        "attention_fusion_step", _fusion_arguments, expected.fusion, tolerance=1e-4, gradients=("weight", "value")
    ),
    _operator(
        "knn_query_and_group",
        partial(_with_features, nsample=NEIGHBOURS, with_xyz=True),
        expected.nearest,
        _grouped,
        tolerance=1e-4,
        linear=False,
    ),
    _operator(
        "ball_query_and_group",
        partial(_with_features, nsample=NEIGHBOURS, max_radio=RADIUS_M, with_xyz=True),
        expected.in_ball,
        _grouped_sizes,
        linear=False,
    ),
    _operator(
        "query_and_group",
        partial(_with_features, nsample=NEIGHBOURS, idx=None),
        expected.nearest,
        _grouped,
        tolerance=1e-4,
        linear=False,
    ),
    _operator(
        "offset2batch",
        lambda generator, number: {"offset": torch.tensor([number // 3, number])},
        lambda given: (torch.arange(int(given["offset"][-1])) >= int(given["offset"][0])).long(),
        gapped=frozenset({"offset"}),
    ),
    _operator(
        "batch2offset",
        lambda generator, number: {"batch": (torch.arange(number) >= number // 3).long()},
        lambda given: torch.tensor([int((given["batch"] == 0).sum()), len(given["batch"])]),
        gapped=frozenset({"batch"}),
    ),
]


def _knn_query(given: dict[str, Tensor], params: Mapping[str, Any]) -> dict[str, Tensor]:
    xyz, offset = given["xyz"], given["offset"]
    self_idx, self_dist = pointops.knn_query(params["self_nsample"], xyz, offset)
    new_idx, new_dist = pointops.knn_query(params["new_nsample"], xyz, offset, given["new_xyz"], given["new_offset"])
    return {"self_idx": self_idx, "self_dist": self_dist, "new_idx": new_idx, "new_dist": new_dist}


def _ball_query(given: dict[str, Tensor], params: Mapping[str, Any]) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    for name, queries in (("self", ()), ("new", (given["new_xyz"], given["new_offset"]))):
        nsample, *radii = (params[f"{name}_{limit}"] for limit in ("nsample", "max_radius", "min_radius"))
        idx, dist = pointops.ball_query(nsample, radii[0], radii[1], given["xyz"], given["offset"], *queries)
        outputs |= {f"{name}_idx": idx, f"{name}_dist": dist}
    return outputs


def _grouping(given: dict[str, Tensor], params: Mapping[str, Any]) -> dict[str, Tensor]:
    points = given["feat"], given["xyz"]
    own = given["xyz"][: len(given["idx"])]
    return {
        "grouped": pointops.grouping(given["idx"], *points, own, with_xyz=True),
        "grouped_new": pointops.grouping(given["idx_new"], *points, given["new_xyz"], with_xyz=True),
    }


def _interpolation(given: dict[str, Tensor], params: Mapping[str, Any]) -> dict[str, Tensor]:
    places = given["src_xyz"], given["xyz"], given["feat"], given["src_offset"], given["offset"]
    return {"k3": pointops.interpolation(*places, k=3), "k4": pointops.interpolation2(*places, k=4)}


def _subtraction(given: dict[str, Tensor], params: Mapping[str, Any]) -> dict[str, Tensor]:
    return {"out": pointops.subtraction(given["input1"], given["input2"], given["idx"])[: params["rows_kept"]]}


def _attention_steps(given: dict[str, Tensor], params: Mapping[str, Any]) -> dict[str, Tensor]:
    query, key, edges = given["query"], given["key"], (given["index_target"], given["index_refer"])
    relation = pointops.attention_relation_step(query, key, given["weight"], *edges)
    return {"relation": relation, "fusion": pointops.attention_fusion_step(relation, key, *edges)}


GOLDENS: dict[str, Golden] = {
    "op_aggregation": lambda given, params: {"out": pointops.aggregation(**given)},
    "op_attention_steps": _attention_steps,
    "op_ball_query": _ball_query,
    "op_farthest_point_sampling": lambda given, params: {"idx": pointops.farthest_point_sampling(**given)},
    "op_grouping": _grouping,
    "op_interpolation": _interpolation,
    "op_knn_query": _knn_query,
    "op_subtraction": _subtraction,
}
