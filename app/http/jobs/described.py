"""How a job looks in answers."""

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated

from pydantic import Field

from app.errors import BadRequest, NotFound
from app.survey.jobs.job import Job, JobState
from app.survey.jobs.queue import JobQueue
from app.survey.manifest import Manifest
from app.survey.row import Row, State

MAX_TILES = 1000  # that one answer describes one by one


@dataclass(frozen=True)
class TileReport:
    """One file of a job."""

    name: str
    state: State
    points: Annotated[int | None, Field(description="As its header says, or as were labelled.")]
    attempts: int
    error: str
    warnings: list[str]


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
    model: Annotated[str, Field(description="As it was asked for; '' for the server's choice.")]
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
    files_left_out: Annotated[int, Field(description=f"Tiles beyond the first {MAX_TILES}.")]


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
        job.options.model,
        job.names,
        {str(state): count for state, count in tiles.items()},
        points,
        points_done,
        round(progress.points_s, 1) if progress else None,
        _rounded(progress.left_s) if progress else None,
        jobs.store.disk_bytes(job),
    )


def details_of(jobs: JobQueue, job: Job) -> JobDetails:
    """``job`` with its tiles."""
    report = report_of(jobs, job)
    files: list[TileReport] = []
    num_tiles = 0
    try:
        with Manifest.read(jobs.store.answers_of(job)) as manifest:
            num_tiles = len(manifest)
            for row in manifest.rows():
                if len(files) == MAX_TILES:
                    break
                files.append(tile_report(row))
    except (BadRequest, NotFound):
        pass
    return JobDetails(**vars(report), files=files, files_left_out=num_tiles - len(files))


def tile_report(row: Row) -> TileReport:
    """One file of a job, as answers have it."""
    points = row.labelled_points or row.tile.num_points
    return TileReport(row.tile.name, row.state, points, row.attempts, row.error, row.warnings)


def time_text(seconds: float) -> str | None:
    """The time ``seconds`` after the begin of 1970, in UTC; None for that begin."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds") if seconds else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) else round(seconds, 1)
