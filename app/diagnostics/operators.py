"""Child process: compares every operator of one library, on every device, with plain torch."""

import importlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .attempt import answer, reason_of

if TYPE_CHECKING:
    from app.operators.operator import Operator

TOLERANCE = 1e-4
NUM_POINTS = 500


def check_library(name: str) -> dict[str, Any]:
    """Whether ``name`` is compiled (and for what) or runs its reference, and how far its operators are off.

    ``unloaded`` says why the compiled extension is not there; '' if it is.
    """
    library = importlib.import_module(name)
    architectures = list(getattr(library, "ARCHITECTURES", ()))
    operators = importlib.import_module(f"app.operators.{name}").OPERATORS
    checks = [_run(device, operators) for device in devices()]
    return {
        "name": name,
        "state": "compiled" if architectures else "reference",
        "architectures": architectures,
        "unloaded": _unloaded(f"{name}._compiled"),
        "checks": [check for group in checks for check in group],
    }


def devices() -> list[str]:
    """The processor and every CUDA device."""
    import torch

    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count() * torch.cuda.is_available()))]


def _unloaded(extension: str) -> str:
    try:
        importlib.import_module(extension)
    except ImportError as error:
        return str(error)
    return ""


def runs_on(device: str, operators: "Iterable[Operator]") -> "list[Operator]":
    """Those of ``operators`` that run on ``device``, such as cuda:0."""
    return [operator for operator in operators if device.partition(":")[0] in operator.devices]


def _run(device: str, operators: "Iterable[Operator]") -> list[dict[str, Any]]:
    try:
        checks = [
            (operator.name, operator.error(operator.made(NUM_POINTS, device)))
            for operator in runs_on(device, operators)
        ]
    except Exception as error:
        return [{"device": device, "operator": "all", "ok": False, "reason": reason_of(error)}]
    return [
        {"device": device, "operator": name, "max_abs_error": error, "ok": error <= TOLERANCE} for name, error in checks
    ]


if __name__ == "__main__":
    answer(check_library, sys.argv[1])
