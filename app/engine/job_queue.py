"""Jobs that wait for an engine: in what order they are taken, and which go through the network together."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from app.engine.counts import Counts, Each
from app.engine.forecast import VoxelDensity
from app.engine.job import CloudJob, JobStatus


@dataclass(frozen=True)
class BatchLimits:
    """Bounds of what goes through the network together.

    Attributes:
        clouds: at most.
        voxels: at most, as far as they can be foreseen; a cloud alone may have more.
        delay_s: how long a batch that has room waits for clouds that are being read.
    """

    clouds: int = 1
    voxels: int = 0
    delay_s: float = 0.0


@dataclass(frozen=True)
class Taker:
    """An engine that takes jobs, maybe while it has others.

    Attributes:
        name: of the engine.
        room_bytes: device memory for all that it has at a time, unless it has one batch alone.
        lanes: batches that it has at a time.
    """

    name: str = ""
    room_bytes: float = math.inf
    lanes: int = 1


class JobQueue:
    """Jobs that wait for an engine, first come, first served, and those that engines have. For one thread at a time.

    Jobs in the background (``CloudJob.background_s``) go when no other is ready. Of an engine they leave a lane, if it
    has several, and half of the room, so that others need not wait for them.
    Of the jobs that wait when an engine was lost, those that were in none go first, small before large, and those that
    were in one go last, alone in their engine, and one at a time: a cloud that loses engines keeps the others waiting
    for one restart, and ends one of several engines.

    Attributes:
        limits: as given.
    """

    def __init__(self, limits: BatchLimits, counts: Counts | None = None) -> None:
        self.limits = limits
        self._counts = counts or Counts()
        self._density = VoxelDensity()
        self._jobs: list[CloudJob] = []
        self._running: dict[str, list[CloudJob]] = {}  # by engine
        self._suspect: CloudJob | None = None  # in an engine, and in one that was lost before
        self._is_loss_new = False
        self._overtaken_until_s = -math.inf  # jobs queued before it are ordered by losses and size

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[CloudJob]:
        return iter(self._jobs)

    @property
    def num_coming(self) -> int:
        """Clouds that are being read and will be added soon."""
        return self._counts.total(Each.COMING)

    def add(self, job: CloudJob) -> None:
        """Let ``job`` wait."""
        self._jobs.append(job)

    def remove(self, job: CloudJob) -> None:
        """Let ``job`` wait no more."""
        self._jobs.remove(job)

    def running(self, engine: str) -> list[CloudJob]:
        """Jobs that the engine of this name has."""
        return self._running.setdefault(engine, [])

    def ready(self, taker: Taker) -> list[CloudJob]:
        """Jobs that ``taker`` may take now, in the order in which they are taken."""
        if not self._jobs:
            return []
        beside = self.running(taker.name)
        jobs = sorted((job for job in self._jobs if not (job.losses and self._suspect)), key=self._rank)
        if jobs and beside:
            first = jobs[0]
            is_alone = any(job.losses for job in (first, *beside))
            room_bytes = taker.room_bytes / 2 if first.background_s else taker.room_bytes
            if is_alone or sum(job.need_bytes for job in (first, *beside)) > room_bytes:
                return []
            behind = {job.started_s for job in beside if job.background_s}  # one for each batch
            if first.background_s and len(behind) >= taker.lanes - 1:
                return []
        return jobs

    def may_grow(self, num_idle: int, taker: Taker) -> bool:
        """Whether clouds are being read that ``taker``'s next batch has room for; ``num_idle`` engines wait for one."""
        if not self.num_coming or not self.limits.delay_s:
            return False
        ready = self.ready(taker)
        return bool(ready) and ready[0].shares and not ready[0].losses and len(self) < self._share(num_idle)

    def take(self, num_idle: int, taker: Taker) -> list[CloudJob]:
        """The next batch for ``taker``, one of ``num_idle`` engines; it has it from now on. May be empty."""
        now_s = time.monotonic()
        if self._is_loss_new:  # whoever came while the engine was replaced is among those ordered by size
            self._is_loss_new, self._overtaken_until_s = False, now_s
        batch: list[CloudJob] = []
        for job in self.ready(taker)[: self._share(num_idle)]:
            if batch and not (_go_together(batch[0], job) and self._num_voxels([*batch, job]) <= self.limits.voxels):
                break
            batch.append(job)
        for job in batch:
            self._jobs.remove(job)
            job.status, job.started_s, job.engine = JobStatus.RUNNING, now_s, taker.name
            if job.background_s:
                job.deadline_s = now_s + job.background_s
            if job.losses:
                self._suspect = job
        self.running(taker.name).extend(batch)
        return batch

    def release(self, job: CloudJob) -> None:
        """``job`` is in no engine any more."""
        if self._suspect is job:
            self._suspect = None
        if job in (beside := self.running(job.engine)):
            beside.remove(job)

    def note_loss(self) -> None:
        """An engine was lost."""
        self._is_loss_new = True

    def note_voxels(self, job: CloudJob, num_voxels: int) -> None:
        """The cloud of ``job`` turned out to have so many voxels."""
        self._density.add(job.options.model, job.num_points, num_voxels)

    def _share(self, num_idle: int) -> int:
        """Clouds that one engine may take at once, leaving some to others that are free."""
        here = len(self) + self.num_coming
        return min(self.limits.clouds, -(-here // max(1, num_idle)))

    def _num_voxels(self, jobs: list[CloudJob]) -> int:
        return sum(self._density.num_voxels(job.options.model, job.num_points) for job in jobs)

    def _rank(self, job: CloudJob) -> tuple[bool, bool, int, int, float]:
        is_last = job.background_s > 0
        if job.submitted_s > self._overtaken_until_s:
            return is_last, True, 0, 0, job.submitted_s
        return is_last, False, job.losses, job.num_points, job.submitted_s


def _go_together(first: CloudJob, second: CloudJob) -> bool:
    """Whether two jobs may share a pass."""
    same = first.options.network == second.options.network and first.background_s == second.background_s
    return same and first.shares and second.shares and not (first.losses or second.losses)
