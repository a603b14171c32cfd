"""Reading and writing files by format and size: processor time, wall time, and memory.

    python -m benchmarks.files --against ../before

measures this checkout and, in turns with it, another one; each file in a process of its own that does as a reader
process does: from the mapped file to the packed cloud, and from the cloud to the packed answer. Writing is measured
with LAZ as the file that came in.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.table import Table

ROOT = Path(__file__).parents[1]
MEASURE = Path(__file__).with_name("files_measured.py")
READ = ("npy", "npz", "pkl", "las", "laz", "ply", "pcd", "csv")
WRITTEN = ("json", "npy", "npz", "las", "laz", "csv")
FIGURES = ("CPU ms", "wall ms", "peak MiB")

Figures = list[float]  # those of FIGURES, in their order


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[20_000, 200_000, 1_000_000])
    parser.add_argument("--formats", nargs="+", default=READ, choices=READ)
    parser.add_argument("--outputs", nargs="+", default=WRITTEN, choices=WRITTEN)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3, help="processes for each file (default: 3)")
    parser.add_argument("--against", type=Path, help="another checkout")
    arguments = parser.parse_args()
    roots = [ROOT] + ([arguments.against.absolute()] if arguments.against else [])
    cells: dict[str, list[list[str]]] = {"read": [], "write": []}
    with tempfile.TemporaryDirectory() as folder:
        for num_points in arguments.points:
            _run(ROOT, ["make", folder, str(num_points), *{*arguments.formats, "laz"}], arguments.threads)
            for what, name in [("read", each) for each in arguments.formats] + [
                ("write", each) for each in arguments.outputs
            ]:
                file = Path(folder) / f"cloud.{name if what == 'read' else 'laz'}"
                command = [what, str(file), *([name] if what == "write" else [])]
                found = [list(each) for each in _in_turns(roots, command, arguments)]
                size = f"{file.stat().st_size / 1e6:.1f}"
                row = [f"{statistics.median(values):.1f}" for of_root in found for values in zip(*of_root, strict=True)]
                cells[what].append([name, f"{num_points:,}", size, *row])
    head = [*FIGURES, *([f"{name} there" for name in FIGURES] if arguments.against else [])]
    note = f"{os.cpu_count()} cores, {arguments.threads} threads, median of {arguments.repeats} processes."
    for what, title in (("read", "Reading"), ("write", "Writing, with a LAZ that came in")):
        print(Table(title, [[what, "points", "MB of the file", *head], *cells[what]], [note]), flush=True)


def _in_turns(roots: list[Path], command: list[str], arguments: argparse.Namespace) -> Iterator[list[Figures]]:
    """For each checkout the figures of every process."""
    rounds = [[_run(root, command, arguments.threads) for root in roots] for _ in range(arguments.repeats)]
    yield from (list(each) for each in zip(*rounds, strict=True))


def _run(root: Path, command: list[str], threads: int) -> Figures:
    paths = [root, *(root / "libs").iterdir()]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "RAYON_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": str(1 + threads),
    }
    done = subprocess.run(
        [sys.executable, MEASURE, *command], cwd=root, env=environment, check=True, capture_output=True, text=True
    )
    figures: Figures = json.loads(done.stdout)
    return figures


if __name__ == "__main__":
    main()
