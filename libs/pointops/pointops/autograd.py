"""What torch must know of the compiled operators: their shapes without data, and their derivatives.

Sums over edges go by row in the order of the edges, so that gradients are the same bits every time.
"""

from typing import Any

import torch
from torch import Tensor

OPERATORS = torch.ops.pointops
Gradients = tuple[Tensor | None, ...]


def _neighbours(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return queries.new_empty(shape, dtype=torch.int32), queries.new_empty(shape)


@torch.library.register_fake("pointops::knn_query")
def _(xyz: Tensor, offset: Tensor, queries: Tensor, query_offset: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return _neighbours(queries, k)


@torch.library.register_fake("pointops::ball_query")
def _(
    xyz: Tensor,
    offset: Tensor,
    queries: Tensor,
    query_offset: Tensor,
    samples: int,
    min_radius: float,
    max_radius: float,
    rank: Tensor | None,
) -> tuple[Tensor, Tensor]:
    return _neighbours(queries, samples)


@torch.library.register_fake("pointops::farthest_point_sampling")
def _(xyz: Tensor, offset: Tensor, sample_offset: Tensor, samples: int) -> Tensor:
    return xyz.new_empty(samples, dtype=torch.int32)


@torch.library.register_fake("pointops::neighbour_moments")
def _(xyz: Tensor, queries: Tensor, index: Tensor, used: int) -> Tensor:
    return queries.new_empty(10, queries.shape[0], dtype=torch.float64)


@torch.library.register_fake("pointops::gather")
def _(table: Tensor, index: Tensor) -> Tensor:
    return table.new_empty(*index.shape, table.shape[1])


@torch.library.register_fake("pointops::subtract")
def _(a: Tensor, b: Tensor, index: Tensor) -> Tensor:
    return a.new_empty(*index.shape, a.shape[1])


@torch.library.register_fake("pointops::aggregate")
def _(table: Tensor, position: Tensor, weight: Tensor, index: Tensor) -> Tensor:
    return table.new_empty(index.shape[0], table.shape[1])


@torch.library.register_fake("pointops::aggregate_backward")
def _(table: Tensor, position: Tensor, weight: Tensor, index: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(position), torch.empty_like(weight)


@torch.library.register_fake("pointops::edge_sum")
def _(
    table: Tensor,
    target: Tensor,
    source: Tensor | None,
    weight: Tensor | None,
    rows: int,
    degree: int,
    divisor: int,
) -> Tensor:
    return table.new_empty(rows, *table.shape[1:])


@torch.library.register_fake("pointops::row_sum")
def _(table: Tensor, source: Tensor, weight: Tensor) -> Tensor:
    return table.new_empty(source.shape[0], table.shape[1])


@torch.library.register_fake("pointops::edge_dot")
def _(a: Tensor, b: Tensor, index_a: Tensor, index_b: Tensor, weight: Tensor | None) -> Tensor:
    return a.new_empty(index_a.shape[0], a.shape[1])


def _sum_to_rows(grad: Tensor, index: Tensor, rows: int, weight: Tensor | None = None, degree: int = 1) -> Tensor:
    """(rows, c): grad[edge / degree] * weight[edge, c mod width], summed over the edges with index[edge] = row."""
    return OPERATORS.edge_sum(grad.contiguous(), index.flatten(), None, weight, rows, degree, 1)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _gather_backward(ctx: Any, grad: Tensor) -> Gradients:
    table, index = ctx.saved_tensors
    return _sum_to_rows(grad.flatten(0, 1), index, table.shape[0]), None


def _subtract_backward(ctx: Any, grad: Tensor) -> Gradients:
    _, b, index = ctx.saved_tensors
    return grad.sum(1), -_sum_to_rows(grad.flatten(0, 1), index, b.shape[0]), None


def _aggregate_backward(ctx: Any, grad: Tensor) -> Gradients:
    table, position, weight, index = ctx.saved_tensors
    grad = grad.contiguous()
    grad_position, grad_weight = OPERATORS.aggregate_backward(table, position, weight, index, grad)
    present = weight.flatten(0, 1)
    return _sum_to_rows(grad, index, table.shape[0], present, index.shape[1]), grad_position, grad_weight, None


def _row_sum_backward(ctx: Any, grad: Tensor) -> Gradients:
    table, source, weight = ctx.saved_tensors
    rows, degree = source.shape
    grad = grad.contiguous()
    grad_table = _sum_to_rows(grad, source, table.shape[0], weight.reshape(-1, 1), degree)
    target = torch.arange(rows, dtype=torch.int32, device=grad.device).repeat_interleave(degree)
    grad_weight = OPERATORS.edge_dot(grad[:, None], table[:, None], target, source.flatten(), None)
    return grad_table, None, grad_weight.view_as(weight)


def _edge_dot_backward(ctx: Any, grad: Tensor) -> Gradients:
    a, b, index_a, index_b, weight = ctx.saved_tensors
    grad, channels = grad.contiguous(), a.shape[2]
    grad_a = OPERATORS.edge_sum(b, index_a, index_b, grad, a.shape[0], 1, channels)
    grad_b = OPERATORS.edge_sum(a, index_b, index_a, grad, b.shape[0], 1, channels)
    if weight is None:
        return grad_a, grad_b, None, None, None
    return grad_a * weight, grad_b * weight, None, None, (a * grad_a).sum((0, 1))


def _edge_sum_backward(ctx: Any, grad: Tensor) -> Gradients:
    table, target, source, weight = ctx.saved_tensors
    if source is None or weight is None:
        raise NotImplementedError("edge_sum has derivatives only with source and weight")
    grad = grad.contiguous()
    grad_table = OPERATORS.edge_sum(grad, source, target, weight, table.shape[0], 1, ctx.divisor)
    grad_weight = OPERATORS.edge_dot(grad, table, target, source, None)
    return grad_table, None, None, grad_weight, None, None, None


def _save_edge_sum(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    table, target, source, weight, _, _, ctx.divisor = inputs
    ctx.save_for_backward(table, target, source, weight)


def register() -> None:
    """Adds the derivatives to torch.ops.pointops."""
    register_autograd = torch.library.register_autograd
    register_autograd("pointops::gather", _gather_backward, setup_context=_save)
    register_autograd("pointops::subtract", _subtract_backward, setup_context=_save)
    register_autograd("pointops::aggregate", _aggregate_backward, setup_context=_save)
    register_autograd("pointops::row_sum", _row_sum_backward, setup_context=_save)
    register_autograd("pointops::edge_dot", _edge_dot_backward, setup_context=_save)
    register_autograd("pointops::edge_sum", _edge_sum_backward, setup_context=_save_edge_sum)
