"""Every operator against plain torch: as compiled for the CPU, and its CUDA code run by emulated threads."""

from contextlib import nullcontext
from importlib import import_module

import emulation
import pytest
import torch

from app.operators import LIBRARIES
from app.operators.operator import Operator, difference

OPERATORS = [operator for library in LIBRARIES for operator in import_module(f"app.operators.{library}").OPERATORS]
# without a CUDA kernel of their own: they run plain torch
NOT_OWN = {
    *("pack_keys", "pack_weight", "serialization_depth"),
    *("offset2batch", "batch2offset", "bfs_cluster"),
}
each = pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: f"{operator.library}-{operator.name}")


@each
@pytest.mark.parametrize("number", [30, 200, 700])
def test_results_are_those_expected(operator: Operator, number: int):
    given = operator.made(number)
    assert operator.error(given) <= operator.tolerance
    if operator.repeats:
        results = (operator.compared(operator.run(given), given) for _ in range(2))
        assert difference(*results) == 0


@each
def test_gradients_are_where_they_are_declared(operator: Operator):
    given = operator.made(60)
    leaves = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
    leaves = {name: value.requires_grad_() for name, value in leaves.items() if value.is_floating_point()}
    out = operator.run(given)
    out = out[0] if isinstance(out, tuple) else out
    if not operator.gradients:
        assert not getattr(out, "requires_grad", False) or operator.function.endswith("_group")
        return
    found = torch.autograd.grad(out.sum(), list(leaves.values()), allow_unused=True)
    assert {name for name, gradient in zip(leaves, found, strict=True) if gradient is not None} == set(
        operator.gradients
    )


@pytest.mark.slow
@pytest.mark.skipif(emulation.MISSING, reason=emulation.REASON)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    "operator",
    [operator for operator in OPERATORS if operator.function not in NOT_OWN],
    ids=lambda operator: f"{operator.library}-{operator.name}",
)
def test_cuda_code_gives_what_is_expected(operator: Operator, backwards: bool):
    emulation.emulated(operator.library).set_backwards(backwards)
    for number in (30, 150):
        given = operator.made(number)
        with emulation.poisoned() if operator.repeats else nullcontext(), torch.no_grad():
            with emulation.Redirected(operator.library) as mode:
                found = operator.run(given)
            assert mode.called
            assert difference(operator.compared(found, given), operator.expected(given)) <= operator.tolerance
