"""The operators beside what users have today, on the processor.

    python benchmarks/operators.py [--repeats 9] [--voxels 20000 100000] [--channels 32 64 128 256]

Prints tables in Markdown and writes them to benchmarks/results/operators-cpu.md. With spconv installed its convolution
is measured beside, in a process of its own with one thread, since with more its results are wrong (the last table).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import convolution
from timing import machine

RESULTS = Path(__file__).parent / "results/operators-cpu.md"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--voxels", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128, 256])
    arguments = parser.parse_args()
    lines = ["# Operators on the processor", "", f"{machine()}. Milliseconds: median (fastest–slowest).", ""]
    for title, rows in convolution.tables(arguments.voxels, arguments.channels, arguments.repeats):
        header, *body = rows
        lines += [f"## {title}", "", _row(header), _row(["---"] * len(header)), *map(_row, body), ""]
    text = "\n".join(lines)
    print(text)
    RESULTS.write_text(text)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
