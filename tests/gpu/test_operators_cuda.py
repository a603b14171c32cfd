"""Every operator of the libraries on a CUDA device, against plain torch and the processor, the same bits every time."""

from importlib import import_module

import pytest
import torch
from effort import rows

from app.operators import LIBRARIES
from app.operators.operator import Operator, difference

pytestmark = pytest.mark.gpu
OPERATORS = [
    operator
    for library in LIBRARIES
    for operator in import_module(f"app.operators.{library}").OPERATORS
    if "cuda" in operator.devices
]
MANY, FEW = rows(20_000), 500
each = pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: f"{operator.library}-{operator.name}")


@pytest.mark.parametrize("library", LIBRARIES)
def test_compiled_for_this_device(library):
    major, minor = torch.cuda.get_device_capability()
    assert f"sm_{major}{minor}" in import_module(library).ARCHITECTURES


@each
@pytest.mark.parametrize("number", [FEW, MANY])
def test_results_are_those_expected(operator: Operator, number: int):
    if number == FEW or operator.linear:
        assert operator.error(operator.made(number, "cuda")) <= operator.tolerance
    on_host, on_device = operator.made(number), operator.made(number, "cuda")
    expected, found = (operator.compared(operator.run(given), given) for given in (on_host, on_device))
    assert difference(found, expected) <= max(operator.tolerance, 1e-4)
    if operator.repeats:
        assert difference(operator.compared(operator.run(on_device), on_device), found) == 0


@pytest.mark.parametrize(
    "operator",
    [operator for operator in OPERATORS if operator.gradients],
    ids=lambda operator: f"{operator.library}-{operator.name}",
)
def test_gradients_are_those_of_the_processor(operator: Operator):
    results = []
    for device in ("cpu", "cuda", "cuda"):
        given = operator.made(FEW, device)
        leaves = [given[name].requires_grad_() for name in operator.gradients]
        out = operator.run(given)
        outputs = out if isinstance(out, tuple) else (out,)
        draws = torch.Generator().manual_seed(1)
        incoming = [torch.randn(each.shape, generator=draws).to(device) for each in outputs]
        results.append(torch.autograd.grad(outputs, leaves, incoming))
    for expected, found, again in zip(*results, strict=True):
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-3)
        if operator.library != "sparseops" or operator.function == "sparse_conv":  # the others are torch's own
            assert torch.equal(found, again)
