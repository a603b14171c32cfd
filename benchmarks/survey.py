"""What ``pointserve batch`` takes beside ``pointserve predict``, on the same tiles; and what the manifest takes.

    python -m benchmarks.survey

makes tiles as ``pointserve sample`` does, and runs both commands on them in turn, each with one tile and with all: the
difference is without the start of processes and the loading of the model. ``batch`` runs without a buffer, because
``predict`` knows no neighbours. CPU seconds are those of all processes of a command.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from app.sample.tile import las_bytes, make_tile
from app.survey.manifest import Manifest
from app.survey.tile import Tile
from app.survey.workers import TileResult
from benchmarks.table import Table

COMMANDS = {"predict": ("predict",), "batch": ("batch", "--buffer", "0")}


def main() -> None:
    """Print a table of the commands, then one of the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=8)
    parser.add_argument("--size-m", type=float, default=125.0)
    parser.add_argument("--density", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=20_000, help="tiles of the manifest (default: 20,000)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _commands(Path(folder), arguments)
        _manifest(Path(folder), arguments.rows)


def _commands(folder: Path, arguments: argparse.Namespace) -> None:
    source = folder / "tiles"
    source.mkdir()
    num_points = 0
    for seed in range(arguments.tiles):
        tile = make_tile("town", seed, arguments.size_m, arguments.density)
        num_points += len(tile) if seed else 0
        (source / f"{seed:04}.laz").write_bytes(las_bytes(tile))
    rows = [("command", "points/s", "wall s", "CPU s", "CPU s a million points")]
    for repeat in range(arguments.repeats):
        for name, words in COMMANDS.items():
            out = folder / f"{name}{repeat}"
            one = _run(words, source / "0000.laz", out / "one", arguments.device)
            all_ = _run(words, source, out / "all", arguments.device)
            wall_s, cpu_s = all_[0] - one[0], all_[1] - one[1]
            figures = f"{num_points / wall_s:,.0f}", f"{wall_s:.1f}", f"{cpu_s:.1f}", f"{cpu_s / num_points * 1e6:.2f}"
            rows.append((name, *figures))
    print(Table(f"{num_points:,} points in {arguments.tiles - 1} tiles of LAZ", rows))


def _run(words: tuple[str, ...], source: Path, out: Path, device: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command."""
    command = [sys.executable, "-m", "app.cli", *words, str(source), "-o", f"{out}/", "--device", device]
    begin_s, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begin_s, used


def _manifest(folder: Path, num_rows: int) -> None:
    tiles = [Tile(f"{number}.laz", f"/{number}.laz", "laz", 1, "1", 1000) for number in range(num_rows)]
    result = TileResult(1000, "/out.laz", 9, "ab" * 32, {0: 600, 1: 400}, timings_ms={"decode": 1.0, "encode": 2.0})
    rows = [("step", "wall ms a tile", "CPU ms a tile")]
    with Manifest.create(folder / "survey") as manifest:
        steps = {
            "planned": lambda: manifest.plan(tiles),
            "begun and done": lambda: [
                (manifest.start(number + 1), manifest.finish(number + 1, result, "ab" * 16, 1.0))
                for number in range(num_rows)
            ],
            "read": lambda: sum(1 for _ in manifest.rows()),
        }
        for name, step in steps.items():
            begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
            step()
            wall_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
            rows.append((name, f"{1e3 * wall_s / num_rows:.3f}", f"{1e3 * cpu_s / num_rows:.3f}"))
    print(Table(f"The manifest of {num_rows:,} tiles", rows))


if __name__ == "__main__":
    main()
