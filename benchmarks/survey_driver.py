"""What the driver of a survey takes itself: tiles that no file stands behind, and devices that sleep for networks.

    python -m benchmarks.survey_driver [--tiles 1000000] [--run 50000] [--devices 0] [--tile-s 0.15]

plans made-up tiles of a million points, has them decoded and labelled by devices that sleep ``--tile-s`` a tile, or
answer at once if there are none, and writes report and virtual point cloud. Prints seconds and the most memory of the
process up to each step. "devices busy" is the share of the time in which they slept; what lacks is the driver's,
and the time that the first tiles take until they are decoded.
"""

import argparse
import heapq
import itertools
import os
import resource
import sqlite3
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from app.cli import survey_progress
from app.options import Options
from app.survey import survey
from app.survey.manifest import Manifest
from app.survey.plan import Plan, Wanted
from app.survey.row import State
from app.survey.runner import Progress, Runner
from app.survey.tile import Tile
from app.survey.workers import Capacity, DecodedTile, Model, Ring, Task, TileResult
from benchmarks.survey_plan import made_up
from benchmarks.table import Table

LANES, READERS = 4, 4  # of a device
DECODE_S = 0.4
POINT_BYTES = 40  # of a decoded tile
RING_SHARE = 4
MEMORY_BYTES = 64 << 30  # of the workers of a device
CLASSES = [{"id": 0, "name": "ground", "color": [1, 2, 3], "asprs": 2}, {"id": 1, "name": "other", "color": [9, 9, 9]}]
COLUMNS = ("step", "wall, s", "CPU, s", "CPU, ms a tile", "most memory, MiB")


@dataclass(eq=False)
class Points:
    """A decoded tile or a ring, without its points."""

    num_points: int
    ring: "Points | None" = None

    @property
    def num_bytes(self) -> int:
        """What it would take."""
        return POINT_BYTES * self.num_points

    def close(self) -> None:
        """Nothing is held."""


class Later:
    """Futures that end at their times, by a thread of its own."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Future, object]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def at(self, due_s: float, result: object) -> Future:
        """One that has ``result`` at ``due_s`` of ``time.monotonic``."""
        future: Future = Future()
        with self._changed:
            heapq.heappush(self._due, (due_s, next(self._numbers), future, result))
            if self._due[0][2] is future:
                self._changed.notify()
        return future

    def _run(self) -> None:
        while True:
            with self._changed:
                wait_s = self._due[0][0] - time.monotonic() if self._due else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                _, _, future, result = heapq.heappop(self._due)
            future.set_result(result)


class SleepingWorkers:
    """``Workers`` of ``num_devices`` devices, each of which labels one tile after the other."""

    def __init__(self, num_devices: int, tile_s: float):
        self._tile_s = tile_s if num_devices else 0.0
        self._decode_s = DECODE_S if num_devices else 0.0
        self._later = Later()
        self._free_s = [0.0] * max(1, num_devices)
        self.num_decoded = 0
        count = len(self._free_s)
        self.capacity = Capacity(READERS * count, (LANES + READERS) * count, count << 26, MEMORY_BYTES * count // 4)

    def model(self, options: Options) -> Model:
        """One of two classes."""
        return Model("sleep", "1", CLASSES, halo_m=32.0)

    def decode(self, tile: Tile, ring_m: float, options: Options) -> "Future[DecodedTile]":
        """Ends a while later."""
        self.num_decoded += 1
        points = tile.num_points or 0
        return self._later.at(time.monotonic() + self._decode_s, Points(points, Points(points // RING_SHARE)))

    def label(self, tile: Tile, cloud: DecodedTile, rings: Sequence[Ring], task: Task) -> "Future[TileResult]":
        """Ends when the device that is free first has slept for it."""
        now = time.monotonic()
        first = min(range(len(self._free_s)), key=self._free_s.__getitem__)
        self._free_s[first] = max(now, self._free_s[first]) + self._tile_s
        return self._later.at(self._free_s[first], result(tile, cloud, rings, task, f"cuda:{first}"))

    def stop(self) -> None:
        """Nothing is under way."""


def result(tile: Tile, cloud: DecodedTile, rings: Sequence[Ring], task: Task, worker: str) -> TileResult:
    """The answer of no file, with warnings that differ by tile."""
    points = cloud.num_points
    warnings = [f"{points % 997 + len(tile.name)} points lie outside the range of the file: they are left out."]
    return TileResult(
        points,
        task.output,
        9_000_000,
        "ab" * 32,
        {0: points // 2, 1: points - points // 2},
        num_context=sum(ring.num_points for ring in rings),
        reference="classification",
        agreement=[(2, 0, points // 2), (5, 1, points - points // 2)],
        warnings=warnings,
        timings_ms={"decode": 400.0, "features": 20.0, "voxelize": 4.0, "network": 80.0, "encode": 300.0},
        worker=worker,
    )


class Steps:
    """Rows of the table."""

    def __init__(self, num_tiles: int):
        self.rows = [COLUMNS]
        self._num_tiles = num_tiles
        self._begin()

    def _begin(self) -> None:
        self._begin_s, self._cpu_s = time.perf_counter(), time.process_time()

    def end(self, name: str, num_tiles: int = 0) -> float:
        """Note a step, of all tiles or so many; its seconds."""
        wall_s, cpu_s = time.perf_counter() - self._begin_s, time.process_time() - self._cpu_s
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cells = f"{wall_s:.1f}", f"{cpu_s:.1f}", f"{1e3 * cpu_s / (num_tiles or self._num_tiles):.3f}", f"{peak:,.0f}"
        self.rows.append((name, *cells))
        print(*self.rows[-1], sep=" | ", flush=True)
        self._begin()
        return wall_s


def drive(out: Path, workers: SleepingWorkers, arguments: argparse.Namespace) -> None:
    """A whole survey into ``out``."""
    steps = Steps(arguments.tiles)
    steps.end("imports")
    with Manifest.create(out) as manifest:
        manifest.plan(made_up(arguments.tiles))
        steps.end("tiles into the manifest")
        plan = Plan(manifest, workers.model(Options()), Wanted(str(out), Options()))
        survey.describe(manifest, plan)
        steps.end("plan")
        num_run = min(arguments.run or arguments.tiles, arguments.tiles)
        with survey_progress.shown() as show:

            def look(progress: Progress) -> None:
                show(progress)
                if progress.num_done >= num_run < arguments.tiles:
                    runner.stop()

            runner = Runner(manifest, plan, workers, look)
            done = runner.run()
        run_s = steps.end(f"run of {done.num_done:,} tiles", done.num_done)
        assert done.num_done >= num_run, done
    end_others(out)
    with Manifest.create(out) as manifest:
        assert manifest.counts()[State.DONE] == arguments.tiles
        survey.finish(manifest, str(out))
        steps.end("report and virtual point cloud")
    sizes = [f"{name} {(out / name).stat().st_size / 1e6:,.1f} MB" for name in ("survey.db", "report.html")]
    notes = [f"{done.num_done / run_s:,.0f} tiles a second, decoded {workers.num_decoded / done.num_done:.2f} times."]
    if arguments.devices:
        notes.append(f"Devices busy: {done.num_done * arguments.tile_s / arguments.devices / run_s:.1%}.")
    notes.append(f"{', '.join(sizes)}; {os.cpu_count()} cores.")
    print(f"\n{Table(f'{arguments.tiles:,} tiles', steps.rows, notes)}")


def end_others(out: Path) -> None:
    """Have the tiles that were not run end like one that was, but for their warnings and places."""
    columns = "labelled_points, context_points, output_bytes, counts, reference, agreement, timings_ms, worker, seconds"
    with closing(sqlite3.connect(out / "survey.db")) as connection, connection:
        connection.execute(
            f"UPDATE tile SET state = 'done', output = name, warnings = '[\"' || id || ' points are left out.\"]', "
            f"({columns}) = (SELECT {columns} FROM tile WHERE state = 'done' LIMIT 1) WHERE state = 'pending'"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--run", type=int, help="tiles that are run; the others get their rows at once (default: all)")
    parser.add_argument("--devices", type=int, default=0, help="that sleep; 0: every tile is answered at once")
    parser.add_argument("--tile-s", type=float, default=0.15, help="seconds of a tile on a device (default: 0.15)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drive(Path(folder), SleepingWorkers(arguments.devices, arguments.tile_s), arguments)


if __name__ == "__main__":
    main()
