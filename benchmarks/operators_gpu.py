"""The operators on a GPU: checked, then timed.

    make gpu-bench PYTHON=python3        or, with the libraries built:
    python benchmarks/operators_gpu.py [--only convolutions …] [--output benchmarks/results/operators-gpu.md]

Device milliseconds, medians with the 10th and 90th percentile; inputs take turns and the cache is overwritten before
every call. The floor is the larger of the least bytes over the rate of a copy and the operations over the rate of a
matrix product, both measured first. Ends with an error where a result is wrong.
"""

import argparse
import datetime
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from gpu_cases import every, neighbours, serial, voxels
from gpu_cases.case import Case, Ceilings, ceilings, device_ms

GROUPS: dict[str, Callable[[], Iterable[Case]]] = {
    "maps": voxels.maps,
    "convolutions": voxels.convolutions,
    "neighbours": neighbours.queries,
    "sampling": neighbours.sampling,
    "serialization": serial.orders,
    "grids": serial.grids,
    "operators": every.operators,
}
HEADER = "| what | ms | 10–90 % | TFLOP/s | floor ms | bound by | upstream ms | wanted ms | error |"


def milliseconds(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return "–" if value is None else f"{value:.3g}"


def row(case: Case, limits: Ceilings) -> tuple[str, bool]:
    """The line of a case in the table, and whether its result is right."""
    error = case.error()
    right = error <= case.tolerance  # also false for NaN
    times = sorted(device_ms(case.calls))
    median = statistics.median(times)
    low, high = times[len(times) // 10], times[len(times) * 9 // 10]
    floor_ms, bound = limits.floor_ms(case)
    rate = f"{case.flop / median / 1e9:.1f}" if case.flop else "–"
    told = f"{error:.1e}" if right else f"**{error:.1e}, more than {case.tolerance:.0e}**"
    cells = [case.name, milliseconds(median), f"{low:.3g}–{high:.3g}", rate, milliseconds(floor_ms), bound]
    cells += [milliseconds(case.upstream_ms), milliseconds(case.wanted_ms), told]
    return f"| {' | '.join(cells)} |", right


def main() -> None:
    """Check, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here")
    torch.manual_seed(0)
    limits = ceilings()
    rates = ", ".join(f"{unit} {flops / 1e12:.0f} TFLOP/s" for unit, flops in limits.flops.items())
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {datetime.date.today()}.")
    print(f"Measured ceilings: copy {limits.bytes / 1e12:.2f} TB/s, matrix product {rates}.\n")
    lines, all_right = [], True
    for group in arguments.only:
        lines += ["", f"## {group}", "", HEADER, "|---" * HEADER.count(" | ") + "|---|"]
        print("\n".join(lines[-5:]))
        for case in GROUPS[group]():
            line, right = row(case, limits)
            print(line, flush=True)
            lines.append(line)
            all_right &= right
    if arguments.output:
        title = f"# Operators on {torch.cuda.get_device_name()}"
        told = f"torch {torch.__version__}, {datetime.date.today()}. Copy {limits.bytes / 1e12:.2f} TB/s, {rates}."
        arguments.output.write_text("\n".join([title, "", told, *lines, ""]))
    if not all_right:
        sys.exit("a result is wrong")


if __name__ == "__main__":
    main()
