"""One cloud of a command line, and how a command goes through many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from app.errors import BadRequest, Problem

from .terminal import results, warn


@dataclass(frozen=True)
class Job:
    """One cloud: the file to read, the one to write and its format, a key of ``app.clouds.formats.WRITERS``.

    ``path`` is None if nothing is written.
    """

    file: Path
    path: Path | None
    output: str

    def read(self) -> memoryview:
        """What is in the file; BadRequest if it cannot be read."""
        try:
            return memoryview(self.file.read_bytes())
        except OSError as error:
            raise BadRequest(f"{self.file}: the file cannot be read: {error.strerror}.") from None

    @property
    def title(self) -> str:
        """From where to where, for people."""
        return f"{self.file} → {self.path}" if self.path else str(self.file)


def work_through(jobs: Sequence[Job], work: Callable[[Job], None]) -> None:
    """Call ``work`` for every job. One that fails does not end the others: all are summed up, and the exit code is 1.

    Raises what a single job raised; typer.Exit if some of several failed.
    """
    if len(jobs) == 1:
        work(jobs[0])
        return
    reasons: dict[Path, str] = {}
    for job in jobs:
        try:
            work(job)
        except Exception as error:  # a bug in one cloud's way must not take the others' answers
            reason = error.detail if isinstance(error, Problem) else f"{type(error).__name__}: {error}"
            reasons[job.file] = " ".join(reason.split()).removeprefix(f"{job.file}: ")
            warn(f"{job.file}: {reasons[job.file]}")
    results.print(f"{len(jobs) - len(reasons)} of {len(jobs)} clouds were classified.", markup=False)
    if reasons:
        for file, reason in reasons.items():
            results.print(f"failed: {file}: {reason}", markup=False, soft_wrap=True)
        raise typer.Exit(1)
