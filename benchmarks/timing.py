"""Times taken in turns, and the machine they were taken on."""

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch


def in_turns(works: Sequence[Callable[[], object]], repeats: int, first: int = 1) -> list[list[float]]:
    """Milliseconds of each of ``works`` over ``repeats`` rounds, one after the other in every round.

    The ``first`` rounds come before and do not count.
    """
    times: list[list[float]] = [[] for _ in works]
    for round_number in range(first + repeats):
        for work, of_work in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            if round_number >= first:
                of_work.append(1e3 * (time.perf_counter() - start))
    return times


def by_name(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """``in_turns`` of named works; every round counts."""
    return dict(zip(works, in_turns(list(works.values()), repeats), strict=True))


def spread(times: Sequence[float], decimals: int = 2) -> str:
    """Median with the fastest and slowest."""
    median, fastest, slowest = (f"{value:.{decimals}f}" for value in (statistics.median(times), min(times), max(times)))
    return f"{median} ({fastest}–{slowest})"


def deciles(times: Sequence[float], decimals: int = 2) -> str:
    """Median with a tenth and nine tenths of the way from the fastest to the slowest."""
    ordered = sorted(times)
    tenth, ninth = ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]
    median, low, high = (f"{value:.{decimals}f}" for value in (statistics.median(ordered), tenth, ninth))
    return f"{median} ({low}–{high})"


def host_ms() -> float:
    """Milliseconds of a loop of Python, which show how fast the processor is at this moment."""
    start, total = time.perf_counter(), 0
    for number in range(100_000):
        total += number & 7
    return 1e3 * (time.perf_counter() - start)


def cell(times: Sequence[float] | None) -> str:
    """Of a table: tenths of milliseconds, or a dash for what was not measured."""
    return "–" if times is None else spread(times, 1)


def faster(ours: Sequence[float], other: Sequence[float]) -> str:
    """How many times the other takes as long."""
    return f"{statistics.median(other) / statistics.median(ours):.1f} ×"


def machine() -> str:
    """Processor, threads, versions."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    model = {name.strip(): value.strip() for name, value in fields.items()}
    processor = f"{model.get('model name', platform.processor())}, family {model.get('cpu family', '?')}"
    return (
        f"{processor}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__} "
        f"({torch.backends.cpu.get_cpu_capability()}), {datetime.date.today()}"
    )
