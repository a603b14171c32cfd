"""Jobs that wait for an engine, and whose turn is next."""

import math
from collections.abc import Iterator

from app.engine.job import CloudJob


class JobQueue:
    """Jobs that wait for an engine, first come, first served. For one thread at a time.

    Of the jobs that wait when an engine was lost, those that were in none go first, small before large, and those that
    were in one go last, alone, and one at a time: a cloud that loses engines keeps the others waiting for one restart,
    and ends one of several engines.
    """

    def __init__(self) -> None:
        self._jobs: list[CloudJob] = []
        self._suspect: CloudJob | None = None  # in an engine, and in one that was lost before
        self._is_loss_new = False
        self._overtaken_until = -math.inf  # those queued before it have their turns by losses and size

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[CloudJob]:
        return iter(self._jobs)

    def add(self, job: CloudJob) -> None:
        """Let ``job`` wait."""
        self._jobs.append(job)

    def remove(self, job: CloudJob) -> None:
        """Let ``job`` wait no more."""
        self._jobs.remove(job)

    def clear(self) -> list[CloudJob]:
        """Let none wait any more; the jobs that did."""
        jobs, self._jobs = self._jobs, []
        return jobs

    def ready(self) -> list[CloudJob]:
        """Those that an engine may take now, in the order of their turns."""
        return sorted((job for job in self._jobs if not (job.losses and self._suspect)), key=self._turn)

    def draw(self, now: float) -> list[CloudJob]:
        """As ``ready``; the first call after a loss decides that jobs submitted before ``now`` take turns by size."""
        if self._is_loss_new:
            self._is_loss_new, self._overtaken_until = False, now
        return self.ready()

    def take(self, job: CloudJob) -> None:
        """An engine takes ``job``."""
        self._jobs.remove(job)
        if job.losses:
            self._suspect = job

    def release(self, job: CloudJob) -> None:
        """``job`` is in no engine any more."""
        if self._suspect is job:
            self._suspect = None

    def note_loss(self) -> None:
        """An engine was lost."""
        self._is_loss_new = True

    def _turn(self, job: CloudJob) -> tuple[bool, int, int, float]:
        if job.submitted > self._overtaken_until:
            return True, 0, 0, job.submitted
        return False, job.losses, job.num_points, job.submitted
