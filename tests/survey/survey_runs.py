"""Small surveys of made-up land, and runs over them."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from app.engine.service import Service
from app.options import Options
from app.sample.tile import las_bytes, make_tile
from app.settings import Settings
from app.survey import survey
from app.survey.answers import PARTIAL
from app.survey.big_tiles import BigTiles
from app.survey.local import LocalWorkers
from app.survey.manifest import Manifest
from app.survey.plan import Plan, Wanted
from app.survey.runner import Runner

SETTINGS = Settings(device="cpu", threads=1, readers=2)
TILES = ["t_0_0.laz", "t_0_1.laz", "t_1_0.laz", "t_1_1.laz"]
TILE_M = 20.0
BUFFER_M = 8.0


@cache
def land(side=2):
    """``side`` by ``side`` tiles of about a thousand points that were one cloud, as bytes by name."""
    whole = make_tile("village", 3, side * TILE_M, 2.5)
    cells = np.clip(((whole.xyz[:, :2] - whole.xyz[:, :2].min(0)) / TILE_M).astype(int), 0, side - 1)
    return {
        f"t_{x}_{y}.laz": las_bytes(whole.taken(np.flatnonzero((cells == (x, y)).all(1))), compress=True)
        for x in range(side)
        for y in range(side)
    }


def write_land(folder: Path, side=2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in land(side).items():
        (folder / name).write_bytes(data)
    return folder


def run(
    service: Service, sources, out: Path | str, on_progress=lambda run, progress: None, settings=SETTINGS, **wanted
):
    """Label a survey as ``pointserve batch`` does; what the run says of itself.

    ``manifest`` is its folder if ``out`` is a URL.
    """
    buffer_only = wanted.pop("buffer_only", ())
    wanted = {"options": Options(), "buffer_m": BUFFER_M} | wanted
    place, folder = str(out), wanted.pop("manifest", out)
    with Manifest.create(folder) as manifest:
        asked = Wanted(place, **wanted)
        survey.read(manifest, [str(source) for source in sources], asked, buffer_only)
        workers = LocalWorkers(service, settings)
        plan = Plan(manifest, workers.model(asked.options), asked)
        survey.describe(manifest, plan)
        big_tiles = BigTiles(workers, folder / PARTIAL, plan.buffer_m)
        runner = Runner(manifest, plan, big_tiles, lambda progress: on_progress(runner, progress))
        done = runner.run()
        if not done.stopped:
            survey.finish(manifest, place)
        return done


def rows(out: Path):
    with Manifest.read(out) as manifest:
        return {row.tile.name: row for row in manifest.rows()}


def digests(out: Path):
    """SHA-256 of every answer in ``out`` by its path there."""
    found = (path for path in out.rglob("*.*") if path.is_file() and not path.name.startswith("survey."))
    found = (path for path in found if path.name != "report.html")
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
