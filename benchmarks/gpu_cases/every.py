"""Every operator of the libraries on a GPU, by the tables in app/operators."""

from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

from gpu_cases.case import Case
from torch import Tensor

from app.operators import LIBRARIES
from app.operators.operator import Operator

NUM_POINTS, CHECKED_POINTS = 100_000, 500
INPUTS = 4


def operators() -> Iterator[Case]:
    """All of them on about ``NUM_POINTS`` points, checked on fewer, which plain torch has the memory for."""
    for library in LIBRARIES:
        for operator in import_module(f"app.operators.{library}").OPERATORS:
            if "cuda" in operator.devices:
                yield _case(operator)


def _case(operator: Operator) -> Case:
    inputs = [operator.made(NUM_POINTS, "cuda", seed) for seed in range(INPUTS)]
    return Case(
        f"{operator.library}.{operator.name}",
        [partial(operator.run, given) for given in inputs],
        lambda: operator.error(operator.made(CHECKED_POINTS, "cuda")),
        operator.tolerance,
        num_bytes([*inputs[0].values(), operator.run(inputs[0])]),
    )


def num_bytes(value: Any) -> int:
    """Of all tensors in ``value``."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, list | tuple):
        return sum(num_bytes(part) for part in value)
    return sum(num_bytes(part) for part in vars(value).values()) if hasattr(value, "__dict__") else 0
