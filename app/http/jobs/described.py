"""How a job looks in answers."""

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from typing import Annotated

from pydantic import Field

from app.errors import BadRequest, NotFound
from app.survey.jobs.job import Job, JobState
from app.survey.jobs.queue import JobQueue
from app.survey.manifest import Manifest
from app.survey.row import Row, State

MAX_TILES = 1000  # that one answer describes one by one
MAX_NUMBER = 10**15 - 1  # of a tile, that JSON and the manifest hold


@dataclass(frozen=True)
class TileReport:
    """One file of a job."""

    number: Annotated[int, Field(description="By which those after it are asked for.")]
    name: str
    state: State
    points: Annotated[int | None, Field(description="As its header says, or as were labelled.")]
    attempts: int
    error: str
    warnings: list[str]
    bounds: Annotated[
        list[float] | None,
        Field(description="Least x, y, z and greatest x, y, z, in its own units, if its header tells."),
    ]
    crs: Annotated[str, Field(description="Its coordinate system, '' if it states none.")]
    metres: Annotated[float | None, Field(description="Of a unit of x and y, if it states that.")]
    answer: Annotated[str, Field(description="Name of its answer among those of the job, '' until it is done.")]


@dataclass(frozen=True)
class JobReport:
    """A job and how far it is. Times are in UTC."""

    id: str
    state: JobState
    problem: Annotated[str, Field(description="Why it failed.")]
    created: str
    started: str | None
    ended: str | None
    expires: Annotated[str | None, Field(description="When it is removed with its answers.")]
    model: Annotated[str, Field(description="That labels it; '' until the server has chosen, if none was asked for.")]
    sources: list[str]
    tiles: Annotated[dict[str, int], Field(description="How many are in each state.")]
    points: Annotated[int, Field(description="Of all tiles, as far as headers tell.")]
    points_done: int
    points_s: Annotated[float | None, Field(description="Points a second, while it runs.")]
    left_s: Annotated[float | None, Field(description="Seconds to its end at this rate.")]
    disk_bytes: int


@dataclass(frozen=True)
class JobDetails(JobReport):
    """A job, how far it is, and each of its tiles."""

    files: list[TileReport]
    files_left_out: Annotated[int, Field(description=f"Tiles beyond these {MAX_TILES}: ask for those after the last.")]


@dataclass(frozen=True)
class Jobs:
    """The jobs of one key."""

    jobs: list[JobReport]


def report_of(jobs: JobQueue, job: Job) -> JobReport:
    """``job`` without its tiles."""
    tiles = dict.fromkeys(map(str, State), 0)
    points = points_done = 0
    try:
        with Manifest.read(jobs.store.answers_of(job)) as manifest:
            for state, in_header, labelled in manifest.columns("state", "num_points", "labelled_points"):
                tiles[state] += 1
                points += labelled or in_header or 0
                points_done += labelled if state == State.DONE else 0
    except (BadRequest, NotFound):  # before it began
        tiles[State.PENDING] = len(job.sources) if job.is_upload else 0
    progress = jobs.progress(job)
    return JobReport(
        job.id,
        job.state,
        job.problem,
        time_text(job.created_s) or "",
        time_text(job.started_s),
        time_text(job.ended_s),
        time_text(jobs.store.expires_s(job) or 0.0),
        job.model or job.options.model,
        job.names,
        {str(state): count for state, count in tiles.items()},
        points,
        points_done,
        round(progress.points_s, 1) if progress else None,
        _rounded(progress.left_s) if progress else None,
        jobs.store.disk_bytes(job),
    )


def details_of(jobs: JobQueue, job: Job, after: int) -> JobDetails:
    """``job`` with its tiles, of those with numbers greater than ``after``."""
    report = report_of(jobs, job)
    files: list[TileReport] = []
    num_left = 0
    try:
        with Manifest.read(jobs.store.answers_of(job)) as manifest:
            out = manifest.get("out", "")
            files = [tile_report(row, out) for row in islice(manifest.rows(after=after), MAX_TILES)]
            last = files[-1].number if files else after
            num_left = manifest.num_after(last)
    except (BadRequest, NotFound):
        pass
    return JobDetails(**vars(report), files=files, files_left_out=num_left)


def tile_report(row: Row, out: str) -> TileReport:
    """One file of a job whose answers are at ``out``, as answers have it."""
    tile = row.tile
    return TileReport(
        row.id,
        tile.name,
        row.state,
        row.labelled_points or tile.num_points,
        row.attempts,
        row.error,
        row.warnings,
        bounds=list(tile.bounds) if tile.bounds else None,
        crs=tile.crs.partition('"')[2].partition('"')[0] or tile.crs,  # the name in WKT
        metres=tile.metres_per_unit[0] if tile.metres_per_unit else None,
        answer=row.output[len(out) + 1 :] if row.state is State.DONE else "",
    )


def time_text(seconds: float) -> str | None:
    """The time ``seconds`` after the begin of 1970, in UTC; None for that begin."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds") if seconds else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) else round(seconds, 1)
