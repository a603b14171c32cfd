"""What planning a survey takes: sources, headers, manifest and neighbours of files, then a survey of made-up tiles.

    python -m benchmarks.survey_plan

writes tiles side by side, each the made-up one of ``pointserve sample`` with another place in its header, and plans
them in a process of its own; then it plans as many as 3DEP has, of which nothing is on disk.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from app.sample.tile import las_bytes, make_tile
from app.survey.headers import tiles
from app.survey.index import index
from app.survey.manifest import Manifest
from app.survey.sources import find
from app.survey.tile import Tile
from benchmarks.table import Table
from tests.survey.survey_files import moved

SIZE_M, BUFFER_M = 120.0, 32.0
Result = TypeVar("Result")
COLUMNS = ("step", "tiles", "wall s", "CPU s", "µs a tile")


def main() -> None:
    """Print a table of each survey."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--made-up", type=int, default=1_400_000, help="tiles (default: 1,400,000)")
    parser.add_argument("--plan", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plan:
        _plan(arguments.plan, arguments.made_up)
        return
    sample = las_bytes(make_tile(size_m=SIZE_M, density=0.1))
    with tempfile.TemporaryDirectory() as folder:
        for x, y in _places(arguments.files):
            path = Path(folder, "tiles", f"{y:03}", f"{x:03}.laz")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(moved(sample, x * SIZE_M, y * SIZE_M))
        for given in (f"{folder}/tiles", "-"):
            command = [sys.executable, "-m", "benchmarks.survey_plan", "--plan", given]
            subprocess.run([*command, "--made-up", str(arguments.made_up)], check=True)


def _places(num_tiles: int) -> Iterator[tuple[int, int]]:
    width = int(num_tiles**0.5)
    return ((number % width, number // width) for number in range(num_tiles))


def _plan(given: str, num_made_up: int) -> None:
    """Plan the folder ``given``, or made-up tiles for "-", and print what each step took and the most memory."""
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as out:
        num_tiles = _planned(rows, Path(out), given, num_made_up)
        size_mb = Path(out, "survey.db").stat().st_size / 1e6
    for row in rows:
        row[1:1] = [f"{num_tiles:,}"]
        row.append(f"{1e6 * float(row[2]) / num_tiles:.1f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    notes = [f"At most {peak:,.0f} MiB of memory; a manifest of {size_mb:,.0f} MB; {os.cpu_count()} cores."]
    print(Table("Files" if given != "-" else "Made-up tiles", [list(COLUMNS), *rows], notes), flush=True)


def _planned(rows: list[list[str]], out: Path, given: str, num_made_up: int) -> int:
    """Plan a survey in the folder ``out``; how many tiles it has."""
    with Manifest.create(out) as manifest:
        if given == "-":
            num_tiles = _timed(rows, "manifest", lambda: manifest.plan(made_up(num_made_up)))
        else:
            sources = _timed(rows, "sources", lambda: list(find([given])))
            described = _timed(rows, "headers", lambda: list(tiles(sources)))
            num_tiles = _timed(rows, "manifest", lambda: manifest.plan(described))
            assert not [tile.error for tile in described if tile.error]
        plan = _timed(rows, "neighbours", lambda: index((row.tile for row in manifest.rows()), BUFFER_M))
        inner = num_tiles // 2 + int(num_tiles**0.5) // 2
        assert len(plan) == num_tiles
        assert len(plan.neighbours(inner)) == 8
        return num_tiles


def _timed(rows: list[list[str]], step: str, call: Callable[[], Result]) -> Result:
    start, start_cpu = time.perf_counter(), time.process_time()
    found = call()
    rows.append([step, f"{time.perf_counter() - start:.2f}", f"{time.process_time() - start_cpu:.2f}"])
    return found


def made_up(num_tiles: int) -> Iterator[Tile]:
    """Tiles of a million points side by side, of which nothing is on disk."""
    for x, y in _places(num_tiles):
        low = (500_000 + x * SIZE_M, 5_000_000 + y * SIZE_M, 0.0)
        name = f"USGS_LPC_state_{y:05}/work_unit_{x:05}_LAS_2024.laz"
        bounds = (*low, low[0] + SIZE_M, low[1] + SIZE_M, 50.0)
        yield Tile(
            *(name, f"s3://usgs-lidar/Projects/{name}", "laz", 10_000_000 + x, f"10000000-{x:032x}"),
            *(1_000_000, bounds, "EPSG:6339+5703", (1.0, 1.0)),
        )


if __name__ == "__main__":
    main()
