"""Operation cases: single operators of pointops, pointgroup_ops and sparseops."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .arrays import FLOAT_TOLERANCE, different, distance, read
from .result import CaseResult, judge, not_served

Tensors = dict[str, Tensor]


def run(case: Path, config: Mapping[str, Any], device: str) -> CaseResult:
    """Compare the outputs of one operator, compiled where it is, with those of the case.

    NaN in an answer says that it is not defined there.
    """
    operator = OPERATORS.get(config["op"])
    if operator is None:
        return not_served(case.name, "operation", f"operator {config['op']} is not here yet")
    given = {name: torch.from_numpy(array).to(device) for name, array in read(case / "input.npz").items()}
    expected = read(case / "output.npz")
    try:
        with torch.inference_mode():
            outputs = operator(given, config["params"])
    except ModuleNotFoundError as error:
        return not_served(case.name, "operation", f"{error.name} is not installed")
    if config["op"] == "op_ball_query":
        _leave_out_thinned(expected)
    found = {name: tensor.cpu().numpy() for name, tensor in outputs.items()}
    for name in found.keys() & expected.keys():
        if found[name].shape == expected[name].shape and expected[name].dtype.kind == "f":
            defined = ~np.isnan(expected[name])
            found[name], expected[name] = found[name][defined], expected[name][defined]
    wrong = [*different(found, expected), *sorted(expected.keys() - found.keys())]
    floats = [distance(array, expected[name]) for name, array in found.items() if array.dtype.kind == "f"]
    return judge(case.name, "operation", max(floats, default=0.0), FLOAT_TOLERANCE, None, wrong)


def _leave_out_thinned(expected: dict[str, np.ndarray]) -> None:
    """NaN for the distances of full rows: where upstream's kernel thins, it gives roots of indices instead."""
    for name in ("self", "new"):
        expected[f"{name}_dist"][(expected[f"{name}_idx"] >= 0).all(1)] = np.nan


def _knn_query(given: Tensors, params: Mapping[str, Any]) -> Tensors:
    import pointops

    xyz, offset = given["xyz"], given["offset"]
    self_idx, self_dist = pointops.knn_query(params["self_nsample"], xyz, offset)
    new_idx, new_dist = pointops.knn_query(params["new_nsample"], xyz, offset, given["new_xyz"], given["new_offset"])
    return {"self_idx": self_idx, "self_dist": self_dist, "new_idx": new_idx, "new_dist": new_dist}


def _ball_query(given: Tensors, params: Mapping[str, Any]) -> Tensors:
    import pointops

    outputs: Tensors = {}
    for name, queries in (("self", ()), ("new", (given["new_xyz"], given["new_offset"]))):
        limits = (params[f"{name}_{limit}"] for limit in ("nsample", "max_radius", "min_radius"))
        idx, dist = pointops.ball_query(*limits, given["xyz"], given["offset"], *queries)
        outputs |= {f"{name}_idx": idx, f"{name}_dist": dist}
    return outputs


def _farthest_point_sampling(given: Tensors, params: Mapping[str, Any]) -> Tensors:
    import pointops

    return {"idx": pointops.farthest_point_sampling(given["xyz"], given["offset"], given["new_offset"])}


def _grouping(given: Tensors, params: Mapping[str, Any]) -> Tensors:
    import pointops

    points = given["feat"], given["xyz"]
    own = given["xyz"][: len(given["idx"])]
    return {
        "grouped": pointops.grouping(given["idx"], *points, own, with_xyz=True),
        "grouped_new": pointops.grouping(given["idx_new"], *points, given["new_xyz"], with_xyz=True),
    }


def _interpolation(given: Tensors, params: Mapping[str, Any]) -> Tensors:
    import pointops

    places = [given[name] for name in ("src_xyz", "xyz", "feat", "src_offset", "offset")]
    return {"k3": pointops.interpolation(*places, k=3), "k4": pointops.interpolation2(*places, k=4)}


def _subtraction(given: Tensors, params: Mapping[str, Any]) -> Tensors:
    import pointops

    return {"out": pointops.subtraction(given["input1"], given["input2"], given["idx"])[: params["rows_kept"]]}


def _aggregation(given: Tensors, params: Mapping[str, Any]) -> Tensors:
    import pointops

    return {"out": pointops.aggregation(given["input"], given["position"], given["weight"], given["idx"])}


def _attention_steps(given: Tensors, params: Mapping[str, Any]) -> Tensors:
    import pointops

    query, key, edges = given["query"], given["key"], (given["index_target"], given["index_refer"])
    relation = pointops.attention_relation_step(query, key, given["weight"], *edges)
    return {"relation": relation, "fusion": pointops.attention_fusion_step(relation, key, *edges)}


def _ballquery_bfs_cluster(given: Tensors, params: Mapping[str, Any]) -> Tensors:
    import pointgroup_ops

    clouds = given["batch_idxs"], given["batch_offsets"]
    idx, start_len = pointgroup_ops.ballquery_batch_p(given["xyz"], *clouds, params["radius"], params["mean_active"])
    rows, offsets = pointgroup_ops.bfs_cluster(given["labels"].cpu(), idx.cpu(), start_len.cpu(), params["threshold"])
    return {"idx": idx, "start_len": start_len, "cluster_idxs": rows, "cluster_offsets": offsets}


def _serialization(given: Tensors, params: Mapping[str, Any]) -> Tensors:
    import sparseops

    outputs: Tensors = {}
    for depth in params["depths"]:
        codes = sparseops.serialize(given[f"grid_coord_{depth}"], given[f"batch_{depth}"], depth).codes
        outputs |= {f"{curve}_{depth}": row for curve, row in zip(sparseops.CURVES, codes, strict=True)}
    cloud = sparseops.serialize(given["cloud_grid_coord"], given["cloud_batch"])
    return outputs | {
        "cloud_code": cloud.codes,
        "cloud_order": cloud.orders,
        "cloud_inverse": cloud.inverses,
        "cloud_depth": torch.tensor(sparseops.serialization_depth(given["cloud_grid_coord"])),
    }


def _attention_padding(given: Tensors, params: Mapping[str, Any]) -> Tensors:
    import sparseops

    outputs: Tensors = {}
    for name, offset in given.items():
        kind, _, batch = name.partition("_")
        if kind == "offset":
            padding = sparseops.patch_padding(offset, int(given[f"patch_{batch}"]))
            outputs |= {f"{field}_{batch}": tensor for field, tensor in padding._asdict().items()}
    return outputs


OPERATORS: dict[str, Callable[[Tensors, Mapping[str, Any]], Tensors]] = {
    "attention_padding": _attention_padding,
    "op_aggregation": _aggregation,
    "op_attention_steps": _attention_steps,
    "op_ball_query": _ball_query,
    "op_ballquery_bfs_cluster": _ballquery_bfs_cluster,
    "op_farthest_point_sampling": _farthest_point_sampling,
    "op_grouping": _grouping,
    "op_interpolation": _interpolation,
    "op_knn_query": _knn_query,
    "op_subtraction": _subtraction,
    "serialization": _serialization,
}
