"""Features of neighbours: gathered, subtracted, aggregated, interpolated. All have derivatives.

An index of -1 says that there is no neighbour: it reads zeros and adds nothing. On the CPU an index outside of the rows
is a ValueError, on a GPU it counts as -1.
"""

from typing import Any

import torch
from torch import Tensor

from . import reference
from .checks import as_float32, check_devices, check_floats, check_index
from .extension import compiled_for
from .neighbours import knn_query


def grouping(idx: Tensor, feat: Tensor, xyz: Tensor, new_xyz: Tensor | None = None, with_xyz: bool = False) -> Tensor:
    """Features of neighbours (m, s, c), with_xyz (m, s, 3 + c): before them the neighbour's place seen from its query.

    idx (m, s), feat (n, c) float32, or float16 or bfloat16, which become float32, xyz (n, 3), new_xyz (m, 3) the
    queries, by default the points.
    """
    grouped = grouping2(as_float32("features", feat), idx)
    if not with_xyz:
        return grouped
    if new_xyz is None:
        new_xyz = xyz
    check_floats("xyz", xyz, feat.shape[0], 3)
    check_floats("new_xyz", new_xyz, idx.shape[0], 3)
    relative = (grouping2(xyz, idx) - new_xyz[:, None]) * (idx >= 0)[..., None]
    return torch.cat((relative, grouped), -1)


def grouping2(input: Tensor, idx: Tensor) -> Tensor:
    """Rows of input (n, c) float32 at idx (m, s): (m, s, c)."""
    check_floats("features", input, None, None)
    check_devices({"features": input, "idx": idx})
    index = check_index("idx", idx, input.shape[0], None, None)
    return _operators(input).gather(input, index)


def subtraction(input1: Tensor, input2: Tensor, idx: Tensor) -> Tensor:
    """input1[n] - input2[idx[n, s]] of (n, c) and (n', c) float32: (n, s, c)."""
    check_floats("input1", input1, None, None)
    check_floats("input2", input2, None, input1.shape[1])
    check_devices({"input1": input1, "input2": input2, "idx": idx})
    index = check_index("idx", idx, input2.shape[0], input1.shape[0], None)
    return _operators(input1).subtract(input1, input2, index)


def aggregation(input: Tensor, position: Tensor, weight: Tensor, idx: Tensor) -> Tensor:
    """Sum over s of (input[idx[n, s]] + position[n, s]) * weight[n, s], weights repeated along the channels: (n, c).

    input (n', c), position (n, s, c), weight (n, s, w) float32, idx (n, s).
    """
    check_floats("input", input, None, None)
    check_devices({"input": input, "position": position, "weight": weight, "idx": idx})
    index = check_index("idx", idx, input.shape[0], None, None)
    check_floats("position", position, *idx.shape, input.shape[1])
    check_floats("weight", weight, *idx.shape, None)
    if weight.shape[2] == 0:
        raise ValueError(f"weight has shape {tuple(weight.shape)}; a neighbour has one weight or more")
    return _operators(input).aggregate(input, position, weight, index)


def interpolation(xyz: Tensor, new_xyz: Tensor, feat: Tensor, offset: Tensor, new_offset: Tensor, k: int = 3) -> Tensor:
    """Features (n, c) at new_xyz (n, 3), from feat (m, c) at xyz (m, 3): the k nearest, weighted by 1 / (d + 1e-8).

    feat is float32, or float16 or bfloat16, which become float32. Has a derivative by feat alone.
    """
    index, distance = knn_query(k, xyz, offset, new_xyz, new_offset)
    feat = as_float32("features", feat)
    check_floats("features", feat, xyz.shape[0], None)
    weight = 1 / (distance + 1e-8)
    return weighted_sum(feat, index, weight / weight.sum(1, keepdim=True))


interpolation2 = interpolation


def weighted_sum(feat: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """Sum over k of feat[idx[n, k]] * weight[n, k] of (m, c) and (n, k) float32: (n, c)."""
    check_floats("features", feat, None, None)
    check_devices({"features": feat, "idx": idx, "weight": weight})
    index = check_index("idx", idx, feat.shape[0], None, None)
    check_floats("weight", weight, *idx.shape)
    return _operators(feat).row_sum(feat, index, weight)


def _operators(features: Tensor) -> Any:
    return torch.ops.pointops if compiled_for(features) else reference
