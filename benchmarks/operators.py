"""The operators beside what users have today, on the processor.

    python benchmarks/operators.py [--repeats 9] [--voxels 20000 100000] [--channels 32 64 128 256]

Prints tables in Markdown and writes them to benchmarks/results/operators-cpu.md. With spconv installed its convolution
is measured beside, in a process of its own with one thread, since with more its results are wrong (the last table).
"""

import argparse
import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import convolution
import torch

RESULTS = Path(__file__).parent / "results/operators-cpu.md"


def in_turns(works: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Milliseconds of each of ``works`` over ``repeats`` rounds, one after the other in every round, after a first."""
    times: list[list[float]] = [[] for _ in works]
    for round_number in range(repeats + 1):
        for work, of_work in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            if round_number:
                of_work.append(1e3 * (time.perf_counter() - start))
    return times


def spread(times: Sequence[float]) -> str:
    """Median with the fastest and slowest."""
    return f"{statistics.median(times):.2f} ({min(times):.2f}–{max(times):.2f})"


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


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--voxels", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128, 256])
    arguments = parser.parse_args()
    lines = ["# Operators on the processor", "", f"{machine()}. Milliseconds: median (fastest–slowest).", ""]
    for title, rows in convolution.tables(arguments.voxels, arguments.channels, arguments.repeats, in_turns, spread):
        header, *body = rows
        lines += [f"## {title}", "", _row(header), _row(["---"] * len(header)), *map(_row, body), ""]
    text = "\n".join(lines)
    print(text)
    RESULTS.write_text(text)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
