"""What the driver of a survey takes itself: tiles that no file stands behind, and devices that sleep for networks.

    python -m benchmarks.survey_driver [--tiles 1000000] [--run 50000] [--devices 64] [--tile-s 0.15] [--ray-nodes 8]

plans made-up tiles of a million points, has them decoded and labelled by devices that sleep ``--tile-s`` a tile, or
answer at once if there are none, and writes report and virtual point cloud. Prints seconds and the most memory of the
process up to each step. "devices busy" is the share of the time in which they slept; what lacks is the driver's,
and the time that the first tiles take until they are decoded. With ``--ray-nodes`` there is a Ray cluster of as many
nodes on this machine, whose ``--ray-actors`` stand for several devices each: driver and messages are as in a real one.
"""

import argparse
import os
import resource
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli import survey_progress
from app.options import Options
from app.survey import survey
from app.survey.manifest import Manifest
from app.survey.plan import Plan, Wanted
from app.survey.progress import Progress
from app.survey.row import State
from app.survey.runner import Runner
from benchmarks.sleeping_workers import SleepingWorkers
from benchmarks.survey_plan import made_up
from benchmarks.table import Table

if TYPE_CHECKING:
    from benchmarks.sleeping_ray import SleepingRay

COLUMNS = ("step", "wall, s", "CPU, s", "CPU, ms a tile", "most memory, MiB")


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


def drive(out: Path, workers: "SleepingWorkers | SleepingRay", arguments: argparse.Namespace) -> None:
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
        assert not survey.finish(manifest, str(out))
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
    parser.add_argument("--ray-nodes", type=int, default=0, help="of a Ray cluster on this machine (default: none)")
    parser.add_argument("--ray-actors", type=int, default=8, help="of all nodes (default: 8)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.ray_nodes:
            drive(Path(folder), SleepingWorkers(arguments.devices, arguments.tile_s), arguments)
            return
        from benchmarks.sleeping_ray import cluster

        with cluster(arguments.ray_nodes, arguments.ray_actors, arguments.devices, arguments.tile_s) as workers:
            drive(Path(folder), workers, arguments)


if __name__ == "__main__":
    main()
