"""Attention along edges: edge m joins the query in row index_target[m] and the key in row index_refer[m]."""

import torch
from torch import Tensor

from . import reference
from .checks import check_devices, check_floats, check_index
from .extension import compiled_for


def attention_relation_step(
    query: Tensor, key: Tensor, weight: Tensor, index_target: Tensor, index_refer: Tensor
) -> Tensor:
    """Sum over channels of query * key * weight, (m, g), of query and key (n, g, c) and weight (c,) float32."""
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
    """(n, g, c): weight[m] * value[index_refer[m]], summed into row index_target[m]; weight (m, g), value (n, g, c)."""
    check_floats("value", value, None, None, None)
    check_devices({"value": value, "weight": weight, "index_target": index_target, "index_refer": index_refer})
    target = check_index("index_target", index_target, value.shape[0], None)
    refer = check_index("index_refer", index_refer, value.shape[0], index_target.shape[0])
    check_floats("weight", weight, index_target.shape[0], value.shape[1])
    if not compiled_for(value):
        return reference.group_sum(weight, value, target, refer)
    rows, _, channels = value.shape
    return torch.ops.pointops.edge_sum(value, target, refer, weight, rows, 1, channels)
