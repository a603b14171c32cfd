"""Attention along edges: edge m joins the query in row index_target[m] and the key in row index_refer[m]."""

import torch
from torch import Tensor

from . import reference
from .checks import check_devices, check_floats, check_index
from .extension import compiled_for


def attention_relation_step(
    query: Tensor, key: Tensor, weight: Tensor, index_target: Tensor, index_refer: Tensor
) -> Tensor:
    """The score of every edge and group of channels: the sum over channels of query * key * weight.

    Has derivatives by query, key and weight.

    Args:
        query: float32 (n, g, c), contiguous.
        key: float32 (n', g, c), contiguous.
        weight: float32 (c,).
        index_target: int32 or int64 (m,), the row of ``query`` at each edge; -1 for none, which gives 0.
        index_refer: int32 or int64 (m,), the row of ``key``; -1 for none.

    Returns:
        float32 (m, g).

    Raises:
        ValueError: wrong shape, dtype, layout or device; on the CPU also an index outside of the rows.
    """
    check_floats("query", query, None, None, None)
    check_floats("key", key, None, *query.shape[1:])
    check_floats("weight", weight, query.shape[2])
    features = {"query": query, "key": key, "weight": weight}
    check_devices({**features, "index_target": index_target, "index_refer": index_refer})
    target = check_index("index_target", index_target, query.shape[0], None)
    refer = check_index("index_refer", index_refer, key.shape[0], index_target.shape[0])
    operators = torch.ops.pointops if compiled_for(query) else reference
    return operators.edge_dot(query, key, target, refer, weight)


def attention_fusion_step(weight: Tensor, value: Tensor, index_target: Tensor, index_refer: Tensor) -> Tensor:
    """Values weighted by the edges: weight[m] * value[index_refer[m]], summed into row index_target[m].

    Has derivatives by weight and value.

    Args:
        weight: float32 (m, g), contiguous, of every edge and group of channels.
        value: float32 (n, g, c), contiguous.
        index_target: int32 or int64 (m,), the row of the result that each edge adds to; -1 for none.
        index_refer: int32 or int64 (m,), the row of ``value`` that it adds; -1 for none.

    Returns:
        float32 (n, g, c).

    Raises:
        ValueError: wrong shape, dtype, layout or device; on the CPU also an index outside of the rows.
    """
    check_floats("value", value, None, None, None)
    check_devices({"value": value, "weight": weight, "index_target": index_target, "index_refer": index_refer})
    target = check_index("index_target", index_target, value.shape[0], None)
    refer = check_index("index_refer", index_refer, value.shape[0], index_target.shape[0])
    check_floats("weight", weight, index_target.shape[0], value.shape[1])
    if not compiled_for(value):
        return reference.group_sum(weight, value, target, refer)
    rows, _, channels = value.shape
    return torch.ops.pointops.edge_sum(value, target, refer, weight, rows, 1, channels)
