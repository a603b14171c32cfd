"""Features of neighbours and their derivatives, written into or added to tensors of the caller.

All floats are float32, indices int32 or int64.
"""

import torch
from torch import Tensor

from ..checks import check_like
from ..features import aggregation, grouping2, subtraction, weighted_sum
from .outputs import add, check_counts, gradients, write


@torch.no_grad()
def grouping_forward_cuda(m: int, nsample: int, c: int, input: Tensor, idx: Tensor, output: Tensor) -> None:
    """Writes output (m, nsample, c); see pointops.grouping2."""
    grouped = grouping2(input, idx)
    check_counts(grouped.shape, m=m, nsample=nsample, c=c)
    write(output=(output, grouped))


@torch.no_grad()
def grouping_backward_cuda(m: int, nsample: int, c: int, grad_output: Tensor, idx: Tensor, grad_input: Tensor) -> None:
    """Adds to grad_input (n, c) the derivative of pointops.grouping2, from grad_output (m, nsample, c)."""
    (by_input,) = gradients(lambda input: grouping2(input, idx), grad_output, grad_input=grad_input)
    check_counts(grad_output.shape, m=m, nsample=nsample, c=c)
    add(grad_input=(grad_input, by_input))


@torch.no_grad()
def interpolation_forward_cuda(
    n: int, c: int, k: int, input: Tensor, idx: Tensor, weight: Tensor, output: Tensor
) -> None:
    """Adds to output (n, c) the sum over k of input[idx[n, k]] * weight[n, k], of input (m, c)."""
    total = weighted_sum(input, idx, weight)
    check_counts(total.shape, n=n, c=c)
    check_counts(idx.shape, n=n, k=k)
    add(output=(output, total))


@torch.no_grad()
def interpolation_backward_cuda(
    n: int, c: int, k: int, grad_output: Tensor, idx: Tensor, weight: Tensor, grad_input: Tensor
) -> None:
    """Adds to grad_input (m, c) the derivative of that sum by input, from grad_output (n, c)."""
    (by_input,) = gradients(lambda input: weighted_sum(input, idx, weight), grad_output, grad_input=grad_input)
    check_counts(grad_output.shape, n=n, c=c)
    check_counts(idx.shape, n=n, k=k)
    add(grad_input=(grad_input, by_input))


@torch.no_grad()
def subtraction_forward_cuda(
    n: int, nsample: int, c: int, input1: Tensor, input2: Tensor, idx: Tensor, output: Tensor
) -> None:
    """Writes output (n, nsample, c); see pointops.subtraction."""
    difference = subtraction(input1, input2, idx)
    check_counts(difference.shape, n=n, nsample=nsample, c=c)
    write(output=(output, difference))


@torch.no_grad()
def subtraction_backward_cuda(
    n: int, nsample: int, c: int, idx: Tensor, grad_output: Tensor, grad_input1: Tensor, grad_input2: Tensor
) -> None:
    """Adds to grad_input1 (n, c) and grad_input2 (n', c) the derivatives of pointops.subtraction."""

    def difference(input1: Tensor, input2: Tensor) -> Tensor:
        return subtraction(input1, input2, idx)

    by_inputs = gradients(difference, grad_output, grad_input1=grad_input1, grad_input2=grad_input2)
    check_counts(grad_output.shape, n=n, nsample=nsample, c=c)
    add(grad_input1=(grad_input1, by_inputs[0]), grad_input2=(grad_input2, by_inputs[1]))


@torch.no_grad()
def aggregation_forward_cuda(
    n: int,
    nsample: int,
    c: int,
    w_c: int,
    input: Tensor,
    position: Tensor,
    weight: Tensor,
    idx: Tensor,
    output: Tensor,
) -> None:
    """Adds to output (n, c); see pointops.aggregation."""
    total = aggregation(input, position, weight, idx)
    check_counts(position.shape, n=n, nsample=nsample, c=c)
    check_counts(weight.shape, n=n, nsample=nsample, w_c=w_c)
    add(output=(output, total))


@torch.no_grad()
def aggregation_backward_cuda(
    n: int,
    nsample: int,
    c: int,
    w_c: int,
    input: Tensor,
    position: Tensor,
    weight: Tensor,
    idx: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_position: Tensor,
    grad_weight: Tensor,
) -> None:
    """Adds to grad_input (n', c) and grad_weight (n, nsample, w_c), writes grad_position (n, nsample, c).

    They are the derivatives of pointops.aggregation, from grad_output (n, c).
    """

    def total(input: Tensor, position: Tensor, weight: Tensor) -> Tensor:
        return aggregation(input, position, weight, idx)

    by_inputs = gradients(total, grad_output, input=input, position=position, weight=weight)
    check_counts(position.shape, n=n, nsample=nsample, c=c)
    check_counts(weight.shape, n=n, nsample=nsample, w_c=w_c)
    check_like("grad_position", grad_position, position)
    add(grad_input=(grad_input, by_inputs[0]), grad_weight=(grad_weight, by_inputs[2]))
    write(grad_position=(grad_position, by_inputs[1]))
