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
    """Features of the neighbours of each query, if asked for with their positions relative to it.

    Args:
        idx: int32 or int64 (m, s), the neighbours of each query, rows of ``feat``.
        feat: float32, float16 or bfloat16 (n, c), contiguous; the latter two become float32.
        xyz: float32 (n, 3), positions of the points.
        new_xyz: float32 (m, 3), those of the queries; None if these are the points.
        with_xyz: whether three columns with the relative position come before the features.

    Returns:
        float32 (m, s, c), or (m, s, 3 + c) ``with_xyz``.

    Raises:
        ValueError: wrong shape, dtype, layout or device; on the CPU also an index outside of the rows.
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
    """Rows of ``input`` at ``idx``.

    Args:
        input: float32 (n, c), contiguous.
        idx: int32 or int64 (m, s).

    Returns:
        float32 (m, s, c).

    Raises:
        ValueError: as ``grouping``.
    """
    check_floats("features", input, None, None)
    check_devices({"features": input, "idx": idx})
    index = check_index("idx", idx, input.shape[0], None, None)
    return _operators(input).gather(input, index)


def subtraction(input1: Tensor, input2: Tensor, idx: Tensor) -> Tensor:
    """Each row of ``input1`` less the rows of ``input2`` at its ``idx``.

    Args:
        input1: float32 (n, c), contiguous.
        input2: float32 (n', c), contiguous.
        idx: int32 or int64 (n, s), rows of ``input2``.

    Returns:
        float32 (n, s, c): input1[n] - input2[idx[n, s]].

    Raises:
        ValueError: as ``grouping``.
    """
    check_floats("input1", input1, None, None)
    check_floats("input2", input2, None, input1.shape[1])
    check_devices({"input1": input1, "input2": input2, "idx": idx})
    index = check_index("idx", idx, input2.shape[0], input1.shape[0], None)
    return _operators(input1).subtract(input1, input2, index)


def aggregation(input: Tensor, position: Tensor, weight: Tensor, idx: Tensor) -> Tensor:
    """The weighted sum over the neighbours of each point of their features and positions.

    Args:
        input: float32 (n', c), contiguous, features.
        position: float32 (n, s, c), contiguous, encoded positions of the neighbours.
        weight: float32 (n, s, w), contiguous, w at least 1; channel i has weight i modulo w.
        idx: int32 or int64 (n, s), neighbours, rows of ``input``.

    Returns:
        float32 (n, c): the sum over s of (input[idx[n, s]] + position[n, s]) * weight[n, s].

    Raises:
        ValueError: as ``grouping``, and for a weight without columns.
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
    """Features at other positions: the mean of the k nearest points', weighted by 1 / (distance + 1e-8).

    Has a derivative by ``feat`` alone.

    Args:
        xyz: float32 (m, 3), positions of the points that have features.
        new_xyz: float32 (n, 3), positions that features are wanted at.
        feat: float32, float16 or bfloat16 (m, c), contiguous; the latter two become float32.
        offset: int32 or int64 (b,), cumulative counts of ``xyz`` by cloud.
        new_offset: int32 or int64 (b,), those of ``new_xyz``.
        k: how many points, 1 to 128.

    Returns:
        float32 (n, c).

    Raises:
        ValueError: wrong shape, dtype, layout, device, offsets or k.
    """
    index, distance = knn_query(k, xyz, offset, new_xyz, new_offset)
    feat = as_float32("features", feat)
    check_floats("features", feat, xyz.shape[0], None)
    weight = 1 / (distance + 1e-8)
    return weighted_sum(feat, index, weight / weight.sum(1, keepdim=True))


interpolation2 = interpolation


def weighted_sum(feat: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """The sum over k of feat[idx[n, k]] * weight[n, k], float32 (n, c).

    ``feat`` is float32 (m, c), ``idx`` int32 or int64 (n, k), ``weight`` float32 (n, k). Raises ValueError as
    ``grouping``.
    """
    check_floats("features", feat, None, None)
    check_devices({"features": feat, "idx": idx, "weight": weight})
    index = check_index("idx", idx, feat.shape[0], None, None)
    check_floats("weight", weight, *idx.shape)
    return _operators(feat).row_sum(feat, index, weight)


def _operators(features: Tensor) -> Any:
    return torch.ops.pointops if compiled_for(features) else reference
