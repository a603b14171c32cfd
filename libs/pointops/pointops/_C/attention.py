"""Attention along edges and its derivatives, added to tensors of the caller; see pointops.attention_…_step."""

import torch
from torch import Tensor

from ..attention import attention_fusion_step, attention_relation_step
from .outputs import add, check_counts, gradients


@torch.no_grad()
def attention_relation_step_forward_cuda(
    m: int,
    g: int,
    c: int,
    query: Tensor,
    key: Tensor,
    weight: Tensor,
    index_target: Tensor,
    index_refer: Tensor,
    output: Tensor,
) -> None:
    """Adds to output (m, g)."""
    relation = attention_relation_step(query, key, weight, index_target, index_refer)
    check_counts(relation.shape, m=m, g=g)
    check_counts(weight.shape, c=c)
    add(output=(output, relation))


@torch.no_grad()
def attention_relation_step_backward_cuda(
    m: int,
    g: int,
    c: int,
    query: Tensor,
    grad_query: Tensor,
    key: Tensor,
    grad_key: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    index_target: Tensor,
    index_refer: Tensor,
    grad_output: Tensor,
) -> None:
    """Adds to grad_query (n, g, c), grad_key (n', g, c) and grad_weight (c,), from grad_output (m, g)."""

    def relation(query: Tensor, key: Tensor, weight: Tensor) -> Tensor:
        return attention_relation_step(query, key, weight, index_target, index_refer)

    by_inputs = gradients(relation, grad_output, query=query, key=key, weight=weight)
    check_counts(grad_output.shape, m=m, g=g)
    check_counts(weight.shape, c=c)
    add(
        grad_query=(grad_query, by_inputs[0]),
        grad_key=(grad_key, by_inputs[1]),
        grad_weight=(grad_weight, by_inputs[2]),
    )


@torch.no_grad()
def attention_fusion_step_forward_cuda(
    m: int,
    g: int,
    c: int,
    weight: Tensor,
    value: Tensor,
    index_target: Tensor,
    index_refer: Tensor,
    output: Tensor,
) -> None:
    """Adds to output, of the shape (n, g, c) of value."""
    fusion = attention_fusion_step(weight, value, index_target, index_refer)
    check_counts(weight.shape, m=m, g=g)
    check_counts(value.shape[1:], g=g, c=c)
    add(output=(output, fusion))


@torch.no_grad()
def attention_fusion_step_backward_cuda(
    m: int,
    g: int,
    c: int,
    weight: Tensor,
    grad_weight: Tensor,
    value: Tensor,
    grad_value: Tensor,
    index_target: Tensor,
    index_refer: Tensor,
    grad_output: Tensor,
) -> None:
    """Adds to grad_weight (m, g) and grad_value (n, g, c), from grad_output (n, g, c)."""

    def fusion(weight: Tensor, value: Tensor) -> Tensor:
        return attention_fusion_step(weight, value, index_target, index_refer)

    by_inputs = gradients(fusion, grad_output, weight=weight, value=value)
    check_counts(weight.shape, m=m, g=g)
    check_counts(value.shape[1:], g=g, c=c)
    add(grad_weight=(grad_weight, by_inputs[0]), grad_value=(grad_value, by_inputs[1]))
