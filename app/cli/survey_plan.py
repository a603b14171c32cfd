"""What ``pointserve batch --dry-run`` says."""

import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .models import choose
from .survey_progress import duration
from .terminal import results, warn

if TYPE_CHECKING:
    from app.settings import Settings
    from app.survey.manifest import Manifest
    from app.survey.plan import Plan, Wanted


def show(
    sources: list[str], buffer_only: list[str], wanted: "Wanted", manifest_folder: Path, settings: "Settings"
) -> None:
    """Plan the survey on a copy of the manifest in ``manifest_folder``, and print what would be done."""
    from app.survey import survey
    from app.survey.manifest import FILE, Manifest
    from app.survey.models import model_in
    from app.survey.plan import Plan
    from app.survey.row import State

    model = model_in(choose(settings), settings)
    with tempfile.TemporaryDirectory(prefix="pointserve-") as folder:
        if (manifest_folder / FILE).is_file():
            _copy(manifest_folder / FILE, Path(folder) / FILE)
        with Manifest.create(Path(folder)) as manifest:
            survey.read(manifest, sources, wanted, buffer_only)
            plan = Plan(manifest, model, wanted)
            counts = manifest.counts()
            points_s = manifest.get("points_s")
            pieces = _pieces(manifest, manifest_folder, plan, settings)
            errors = [row for row in manifest.rows() if row.tile.error and not row.tile.is_context]
    num_context = counts[State.CONTEXT]
    num_wanted = int(plan.is_wanted.sum())
    left = len(plan) - num_context - num_wanted
    line = f"{num_wanted:,} of {len(plan) - num_context:,} tiles are to be labelled by {model.name}"
    line += f", {left:,} are done or failed before" if left else ""
    results.print(f"{line}; {num_context:,} give context only.", markup=False, soft_wrap=True)
    for line in (_points(plan), _context(plan), _memory(plan, settings), *pieces, _time(plan, points_s)):
        results.print(line, markup=False, soft_wrap=True)
    for warning in plan.index.warnings():
        warn(warning)
    for row in errors:
        results.print(f"cannot be read: {row.tile.name}: {row.tile.error}", markup=False, soft_wrap=True)


def _copy(source: Path, target: Path) -> None:
    """A copy of a database that others may be writing."""
    with sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True) as old, sqlite3.connect(target) as new:
        old.backup(new)
    old.close()
    new.close()


def _points(plan: "Plan") -> str:
    points = plan.num_points[plan.is_wanted]
    unknown = int((points == 0).sum())
    line = f"points: {points.sum():,}, the largest tile {points.max(initial=0):,}"
    return line + (f"; {unknown:,} files do not tell before they are read" if unknown else "")


def _context(plan: "Plan") -> str:
    if not plan.buffer_m:
        return "context: none"
    numbers = np.flatnonzero(plan.is_wanted)
    neighbours = sum(len(plan.index.neighbours(int(number))) for number in numbers) / max(1, len(numbers))
    groups = len(plan.index.groups)
    line = f"context: {plan.buffer_m:g} m, {neighbours:.1f} neighbours a tile"
    return line + (f", {groups} groups of coordinate systems" if groups > 1 else "")


def _memory(plan: "Plan", settings: "Settings") -> str:
    """What the largest tile takes, and what there is."""
    from app.survey.local import POINT_BYTES

    there = _bytes_for_tiles(settings)
    largest = int(plan.num_points[plan.is_wanted].max(initial=0)) * POINT_BYTES
    return f"memory: about {largest / 1e9:.1f} GB for the largest tile; there are {there / 1e9:.1f} GB for tiles"


def _pieces(manifest: "Manifest", folder: Path, plan: "Plan", settings: "Settings") -> list[str]:
    """What the largest tile that does not fit into memory takes on the disk, and what there is; no line without one."""
    from app.survey import headers
    from app.survey.big_tiles import is_big
    from app.survey.disk import needed_bytes
    from app.survey.local import POINT_BYTES

    points_at_once = _bytes_for_tiles(settings) // POINT_BYTES
    wanted = (row.tile for number, row in enumerate(manifest.rows()) if plan.is_wanted[number])
    num_big, largest = 0, None
    for tile in wanted:
        if is_big(tile, points_at_once):
            num_big += 1
            largest = max(largest or tile, tile, key=lambda each: each.num_points or 0)
    if not largest:
        return []
    needed = needed_bytes(headers.las_file(largest), plan.options_for(largest), points_at_once)
    free = shutil.disk_usage(
        next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    ).free
    return [
        f"disk: {num_big:,} of the tiles are larger than memory and go in pieces, which take about "
        f"{needed / 1e9:.1f} GB with its answer for the largest; there are {free / 1e9:.1f} GB"
    ]


def _bytes_for_tiles(settings: "Settings") -> int:
    """Memory that there is for tiles."""
    from app.engine import devices
    from app.engine.memory_plan import MemoryPlan

    memory = MemoryPlan.of(settings, [choice.torch_device for choice in devices.choose(settings.device)])
    return memory.request_bytes(memory.pass_bytes * memory.num_cpu_engines)


def _time(plan: "Plan", points_s: float | None) -> str:
    points = int(plan.num_points[plan.is_wanted].sum())
    if not points_s:
        return "time: not known before some tiles were labelled here"
    return f"time: about {duration(points / points_s)}, at {points_s:,.0f} points/s as in the last run"
