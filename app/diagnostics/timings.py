"""Child process: runs and times every operator of one library on every device, on a small cloud.

A result that plain torch gives at that size is compared with it; ``operators`` compares all on smaller clouds.
"""

import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from .attempt import answer, reason_of
from .operators import TOLERANCE, devices, runs_on

if TYPE_CHECKING:
    from app.operators.operator import Operator

NUM_POINTS = 10_000
MAX_REPEATS, ENOUGH_S = 9, 0.1


def time_library(name: str) -> list[dict[str, Any]]:
    """One entry for every operator of ``name`` on every device."""
    operators = importlib.import_module(f"app.operators.{name}").OPERATORS
    return [entry for device in devices() for entry in _time(device, runs_on(device, operators))]


def _time(device: str, operators: "Iterable[Operator]") -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    try:
        for operator in operators:
            given = operator.made(NUM_POINTS, device)
            spent_ms = _milliseconds(device, partial(operator.run, given))
            entry = {"device": device, "operator": operator.name, "ms": spent_ms, "ok": True}
            if operator.linear:
                error = operator.error(given)
                entry |= {"max_abs_error": error, "ok": error <= TOLERANCE}
            entries.append(entry)
    except Exception as error:
        reason = reason_of(error, entries[-1]["operator"] if entries else "")
        entries.append({"device": device, "operator": "all", "ok": False, "reason": reason})
    return entries


def _milliseconds(device: str, run: Callable[[], Any]) -> float:
    """Median of as many calls as there is time for, without the first."""
    import torch

    def once() -> float:
        began_s = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began_s

    once()
    spent_s: list[float] = []
    while len(spent_s) < MAX_REPEATS and sum(spent_s) < ENOUGH_S:
        spent_s.append(once())
    return round(1e3 * statistics.median(spent_s), 3)


if __name__ == "__main__":
    answer(time_library, sys.argv[1])
