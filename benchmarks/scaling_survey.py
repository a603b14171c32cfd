"""The surveys' part of ``benchmarks.scaling``."""

import argparse
import importlib.util
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from app.bench.processes import with_children
from app.sample.tile import las_bytes, make_tile
from app.survey.local import readers_for
from app.survey.manifest import FILE as MANIFEST
from app.survey.manifest import Manifest
from app.survey.row import Row, State
from benchmarks.busy import CELLS, Busy
from benchmarks.checkouts import package_paths
from benchmarks.process_times import processor_s
from benchmarks.scaling_service import devices
from benchmarks.scannet import experiment
from tests.http.server import ROOT
from tests.survey.survey_files import moved

GRID_SIZE_M = 0.5  # of networks for rooms, on tiles of a landscape
LIGHT_GRID_SIZE_M = 8.0
STEP_S = 0.25
HEAD = ["model", "workers", "devices", "tiles", "points/s", "with context", "times one", "whole, s"]
HEAD += ["cores: driver", "readers", "engines", *CELLS, "CPU s a million points: driver", "readers"]


def measure(arguments: argparse.Namespace, folder: Path) -> tuple[list[list[str]], list[str]]:
    """Rows of the table, and notes."""
    begin_s = time.monotonic()
    source = folder / "tiles"
    make_tiles(source, arguments)
    num_bytes = sum(path.stat().st_size for path in source.iterdir())
    notes = [
        f"{arguments.tiles:,} {arguments.survey_format.upper()} tiles of {arguments.tile_points:,} points, "
        f"{arguments.density:g} a square metre, {num_bytes / 1e6:,.0f} MB, made in {time.monotonic() - begin_s:.0f} s; "
        f"{os.cpu_count()} cores, {num_readers()} readers."
    ]
    rows = [HEAD]
    one: dict[tuple[object, ...], float] = {}
    has_ray = importlib.util.find_spec("ray") and not arguments.without_ray
    roots = [*([arguments.against.resolve()] if arguments.against else []), ROOT]
    for model, buffer_m in product(arguments.models, arguments.buffers_m):
        words = [*model_words(model, folder / "models", arguments.light)]
        words += [] if buffer_m is None else ["--buffer", f"{buffer_m:g}"]
        ways = product(("local", "ray") if has_ray else ("local",), arguments.counts, range(arguments.repeats))
        for workers, count, repeat in ways:
            for root in roots[:: 1 if repeat % 2 else -1]:
                if time.monotonic() > arguments.end_s:
                    notes.append(f"No time was left for {model} on {count}, {workers}.")
                    continue
                rate, cells = survey(source, folder / "out", root, words, workers, count, arguments)
                times = rate / (one.setdefault((model, buffer_m, workers, root), rate) or 1.0)
                name = model if buffer_m is None else f"{model}, {buffer_m:g} m"
                name = name if root == ROOT else f"{name}, before"
                rows.append([name, workers, str(count), *cells[:3], f"{times:.2f}", *cells[3:]])
                print(*rows[-1], sep=" | ", flush=True)
    return rows, notes


def model_words(model: str, folder: Path, is_light: bool) -> list[str]:
    """Options of ``pointserve batch`` for a model."""
    if model == "bundled":
        return []
    how = (LIGHT_GRID_SIZE_M, ("color",)) if is_light else (GRID_SIZE_M,)
    shutil.rmtree(folder, ignore_errors=True)
    return ["--models", str(experiment(model, folder, *how))]


def make_tiles(source: Path, arguments: argparse.Namespace) -> None:
    """Write the tiles, side by side."""
    source.mkdir()
    size_m = (arguments.tile_points / arguments.density) ** 0.5
    width = int(arguments.tiles**0.5)
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        made = min(arguments.made, arguments.tiles)
        asked = [
            pool.submit(make_alike, seed, size_m, arguments, source, width, range(seed, arguments.tiles, made))
            for seed in range(made)
        ]
        for each in asked:
            each.result()


def make_alike(
    seed: int, size_m: float, arguments: argparse.Namespace, source: Path, width: int, numbers: range
) -> None:
    """Write the tiles ``numbers``, which are one at several places."""
    suffix = arguments.survey_format
    data = las_bytes(make_tile("town", seed, size_m, arguments.density), compress=suffix == "laz")
    for number in numbers:
        x, y = number % width, number // width
        (source / f"{y:04}_{x:04}.{suffix}").write_bytes(moved(data, x * size_m, y * size_m))


def survey(
    source: Path, out: Path, root: Path, words: list[str], workers: str, count: int, arguments: argparse.Namespace
) -> tuple[float, list[str]]:
    """Points a second of a survey by the checkout at ``root``, and the cells of a row from the number of tiles on, but
    "times one"."""
    shutil.rmtree(out, ignore_errors=True)
    log = out.with_name("batch.log")
    command = [sys.executable, "-m", "app.cli", "batch", str(source), "-o", str(out), *words]
    command += ["--readers", str(num_readers())]
    environment = os.environ | ({"PYTHONPATH": package_paths(root)} if root != ROOT else {})
    machine, spent = Busy(count if arguments.devices == "cuda" else 0), []
    begin_s = time.monotonic()
    end_s = min(arguments.end_s, begin_s + arguments.survey_s)
    with cluster(count, arguments.devices) if workers == "ray" else no_cluster() as address, log.open("w") as file:
        command += ["--ray", address] if address else ["--device", ",".join(devices(arguments.devices, count))]
        batch = subprocess.Popen(command, stdout=file, stderr=file, cwd=root, env=environment)
        with machine.watching():
            while batch.poll() is None:
                spent.append((time.monotonic(), processor_s(with_children(batch.pid))))
                if time.monotonic() > end_s:
                    batch.send_signal(signal.SIGINT)
                    end_s = float("inf")
                time.sleep(STEP_S)
    whole_s = time.monotonic() - begin_s
    rows = finished(out)
    if len(rows) < 2:
        print(log.read_text()[-3000:], flush=True)
        return 0.0, [str(len(rows)), "–", "–", f"{whole_s:.0f}", *["–"] * (5 + len(CELLS))]
    first_s, last_s = (row.updated + time.monotonic() - time.time() for row in (rows[0], rows[-1]))
    elapsed_s = max(last_s - first_s, 1e-9)
    labelled = sum(row.labelled_points for row in rows[1:])
    whole = labelled + sum(row.context_points for row in rows[1:])
    within = [each for moment_s, each in spent if first_s <= moment_s <= last_s] or [each for _, each in spent]
    taken_s = [within[-1].get(kind, 0) - within[0].get(kind, 0) for kind in ("web", "readers", "engines")]
    return labelled / elapsed_s, [
        f"{len(rows):,}",
        f"{labelled / elapsed_s:,.0f}",
        f"{whole / elapsed_s:,.0f}",
        f"{whole_s:.0f}",
        *(f"{each / elapsed_s:.1f}" for each in taken_s),
        *machine.shares(first_s, last_s).cells,
        *(f"{1e6 * each / labelled:.3f}" for each in taken_s[:2]),
    ]


def finished(out: Path) -> list[Row]:
    """Tiles that are done, in the order in which they were."""
    if not (out / MANIFEST).exists():
        return []
    with Manifest.read(out) as manifest:
        failed = [row.error for row in manifest.rows(State.FAILED, State.QUARANTINED)]
        if failed:
            print(f"{len(failed)} tiles failed, such as: {failed[0]}", flush=True)
        return sorted(manifest.rows(State.DONE), key=lambda row: row.updated)


def num_readers() -> int:
    """As ``pointserve batch`` has them, in any checkout."""
    return readers_for(os.cpu_count() or 2)


@contextmanager
def no_cluster() -> Iterator[str]:
    """None, and so no address."""
    yield ""


@contextmanager
def cluster(count: int, kind: str) -> Iterator[str]:
    """A Ray cluster of one node with so many GPUs, or with none; its address."""
    import ray

    context = ray.init(num_gpus=count if kind == "cuda" else 0, include_dashboard=False, log_to_driver=False)
    try:
        yield context.address_info["gcs_address"]
    finally:
        ray.shutdown()
