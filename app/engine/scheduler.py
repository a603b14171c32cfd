"""Who may wait for an engine, and whose turn is next."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass

from app.engine.deadline import LATE, STOPPING, Deadline
from app.engine.forecast import Forecast
from app.engine.job import CloudJob
from app.engine.job_queue import JobQueue
from app.engine.packed import Packed
from app.engine.protocol import CloudMeta, SegmentationMeta
from app.engine.quarantine import Quarantine
from app.errors import Busy, ClientGone, DeadlineExceeded, NotReady, Problem, Quarantined
from app.options import Options

MAX_RETRY_AFTER_S = 60.0


@dataclass(frozen=True)
class Limits:
    """What may be here at once, and what goes through the network together."""

    requests: int
    points: int
    batch_requests: int = 1
    batch_voxels: int = 0
    batch_delay_s: float = 0.0


@dataclass
class Place:
    """One place among the requests; ``coming`` until its cloud is queued."""

    coming: bool = True


class Scheduler:
    """A queue bounded in requests, points and device memory, first come first served. For any number of threads.

    A request is admitted before its file is read and leaves when it is answered; its points count while they wait for
    an engine or are in one. Engines take jobs when they are free, so the least loaded gets the next one; ``JobQueue``
    says which that is.

    ``max_bytes``, 0 for no limit, is compared with the sum of ``CloudJob.need_bytes``; ``refusals`` counts requests
    that were not admitted, by requests, points and memory.
    """

    def __init__(self, limits: Limits):
        self.max_bytes = 0
        self.refusals: Counter[str] = Counter()
        self.quarantine = Quarantine()
        self._limits = limits
        self._changed = threading.Condition()
        self._waiting = JobQueue()
        self._forecast = Forecast()
        self._num_requests = 0
        self._num_coming = 0
        self._num_points = 0
        self._num_bytes = 0
        self._num_idle = 0
        self._closed = False
        self._refusal = ""
        self._resumes: float | None = None

    @property
    def load(self) -> tuple[int, int]:
        """Requests admitted and points queued or running at the moment."""
        return self._num_requests, self._num_points

    @contextmanager
    def admitted(self) -> Iterator[Place]:
        """Hold one place among the requests; raises Busy if all are taken, NotReady once ``close`` was called."""
        with self._changed:
            if self._closed:
                raise NotReady(STOPPING)
            if self._num_requests >= self._limits.requests:
                what = f"{self._num_requests} requests are being answered, as many as this server admits."
                raise self._busy("requests", what)
            self._num_requests += 1
            self._num_coming += 1
        place = Place()
        try:
            yield place
        finally:
            with self._changed:
                self._num_requests -= 1
                self._arrive(place)

    def run(
        self,
        cloud: Packed[CloudMeta],
        options: Options,
        deadline: Deadline,
        place: Place | None = None,
        *,
        shares: bool = False,
        need_bytes: int = 0,
    ) -> tuple[CloudJob, Packed]:
        """Queue a cloud and wait for its segmentation, which is the caller's to close; the cloud stays the caller's.

        Raises Busy if points or bytes are too many, DeadlineExceeded, ClientGone, Quarantined, NotReady after
        ``refuse``, or the problem that the job ended in.
        """
        self.quarantine.check(cloud, options.model)
        job = self._submit(cloud, options, deadline.at_s, shares, need_bytes)
        if place:
            with self._changed:
                self._arrive(place)
        while True:
            try:
                return job, job.result.result(deadline.look_s)
            except FutureTimeoutError:
                try:
                    deadline.check(LATE)
                except Problem:
                    self._abandon(job)
                    raise

    def take(self, timeout_s: float, woken: Callable[[], bool] = lambda: False) -> list[CloudJob]:
        """The next jobs for an engine, none if none came in time or ``woken``; to be given back one by one.

        Several are of one model and share a pass. They are at most the engine's share of what waits, and are awaited
        for ``batch_delay_s`` while requests are being read.
        """
        with self._changed:
            self._num_idle += 1
            try:
                self._changed.wait_for(lambda: self._waiting.ready() or woken(), timeout_s)
                if self._may_grow():
                    self._changed.wait_for(lambda: not self._may_grow(), self._limits.batch_delay_s)
                batch = self._pack()
            finally:
                self._num_idle -= 1
        return [job for job in batch if not self._is_quarantined(job)]

    def wake(self) -> None:
        """Have every ``take`` look whether it was woken."""
        with self._changed:
            self._changed.notify_all()

    def finish(self, job: CloudJob, segmentation: Packed[SegmentationMeta]) -> None:
        """Hand over what the engine answered."""
        with self._changed:
            self._forecast.finished(job)
        if job.losses:
            self.quarantine.pardon(job.cloud, job.options.model)
        with self._changed:
            self._leave(job)
        job.result.set_result(segmentation)

    def fail(self, job: CloudJob, problem: Exception) -> None:
        """End a job that an engine took in ``problem``."""
        with self._changed:
            self._leave(job)
        job.result.set_exception(problem)

    def lost(self, jobs: Sequence[CloudJob], was_begun: bool, how: str) -> None:
        """An engine died with ``jobs``, as ``how`` says: each runs again, alone and after all others, but for one that
        did it too often.

        Where several were in it, nobody knows which did it, so none is blamed yet; and none is for the end of a process
        that had not begun with them.
        """
        again = []
        for job in jobs:
            self._waiting.release(job)
            is_blamed = was_begun and len(jobs) == 1
            blame = self.quarantine.strike(job.cloud, job.options.model, how) if is_blamed else None
            if blame:
                self.fail(job, blame)
            elif job.abandoned:
                self.fail(job, ClientGone("Nobody waits for it any more."))
            else:
                job.losses += 1
                again.append(job)
        with self._changed:
            self._waiting.note_loss()
            is_refused = bool(self._refusal)
            if not is_refused:
                for job in again:
                    self._waiting.add(job)
                self._changed.notify_all()
        if is_refused:
            for job in again:
                self.fail(job, self._refused())

    def refuse(self, reason: str, resumes: float | None = None) -> None:
        """No engine will take a job for now: end those that wait, and those to come, in NotReady.

        ``resumes`` is when that may be over, in seconds of ``time.monotonic``. A reason of '' ends it, but not after
        ``close``.
        """
        with self._changed:
            if self._closed and not reason:
                return
            self._refusal, self._resumes = reason, resumes
            jobs = self._waiting.clear() if reason else []
        for job in jobs:
            self.fail(job, self._refused())

    def close(self, grace_s: float = 0.0) -> None:
        """Admit nothing more and wait up to ``grace_s`` for the requests that are here."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._num_requests == 0, grace_s)

    def _submit(
        self, cloud: Packed[CloudMeta], options: Options, deadline_s: float, shares: bool, need_bytes: int
    ) -> CloudJob:
        with self._changed:
            if self._refusal:
                raise self._refused()
            num_points, num_bytes = self._num_points + cloud.num_points, self._num_bytes + need_bytes
            if self._num_points and num_points > self._limits.points:
                here = f"{self._num_points} points wait or are being segmented, too many to add this cloud."
                raise self._busy("points", here)
            if self._num_bytes and num_bytes > self.max_bytes > 0:
                raise self._busy("memory", "Clouds that wait or are being segmented need all of the device's memory.")
            job = CloudJob(cloud.share(), options, deadline_s, shares, need_bytes)
            self._num_points, self._num_bytes = num_points, num_bytes
            self._waiting.add(job)
            self._changed.notify_all()
        return job

    def _arrive(self, place: Place) -> None:
        if place.coming:
            place.coming = False
            self._num_coming -= 1
        self._changed.notify_all()

    def _abandon(self, job: CloudJob) -> None:
        """Nobody waits for ``job`` any more: take it from the queue, or drop what the engine makes of it."""
        with self._changed:
            job.abandoned = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._leave(job)
                return
        job.result.add_done_callback(_drop)

    def _may_grow(self) -> bool:
        """Whether clouds are on their way that the batch to be taken has room for."""
        queue = self._waiting.ready()
        if not queue or not self._num_coming or not self._limits.batch_delay_s:
            return False
        head = queue[0]
        return head.shares and not head.losses and len(self._waiting) < self._share()

    def _share(self) -> int:
        """Clouds that one engine may take at once, leaving some to others that are free."""
        here = len(self._waiting) + self._num_coming
        return min(self._limits.batch_requests, -(-here // max(1, self._num_idle)))

    def _pack(self) -> list[CloudJob]:
        now = time.monotonic()
        for job in [job for job in self._waiting if job.deadline_s <= now]:
            self._waiting.remove(job)
            self._leave(job)
            job.result.set_exception(DeadlineExceeded("The time for the request was over before its turn came."))
        batch: list[CloudJob] = []
        share = self._share()
        for job in self._waiting.draw(now)[:share]:
            if batch and not _go_together(batch[0], job):
                break
            if batch and sum(map(self._forecast.num_voxels, [*batch, job])) > self._limits.batch_voxels:
                break
            batch.append(job)
        for job in batch:
            self._waiting.take(job)
            job.started = now
        return batch

    def _is_quarantined(self, job: CloudJob) -> bool:
        """Whether the cloud was struck too often while it waited; it is ended then."""
        try:
            self.quarantine.check(job.cloud, job.options.model)
        except Quarantined as problem:
            self.fail(job, problem)
            return True
        return False

    def _leave(self, job: CloudJob) -> None:
        self._waiting.release(job)
        self._num_points -= job.num_points
        self._num_bytes -= job.need_bytes
        job.cloud.close()
        self._changed.notify_all()

    def _refused(self) -> NotReady:
        resumes = self._resumes
        return NotReady(self._refusal, retry_after_s=None if resumes is None else max(1.0, resumes - time.monotonic()))

    def _busy(self, reason: str, why: str) -> Busy:
        self.refusals[reason] += 1
        retry_after_s = min(MAX_RETRY_AFTER_S, max(1.0, math.ceil(self._forecast.seconds(self._num_points))))
        return Busy(f"{why} Try again in {retry_after_s:.0f} s.", retry_after_s=retry_after_s)


def _go_together(first: CloudJob, second: CloudJob) -> bool:
    """Whether two jobs may share a pass."""
    same = first.options.network == second.options.network
    return same and first.shares and second.shares and not (first.losses or second.losses)


def _drop(result: "Future[Packed[SegmentationMeta]]") -> None:
    if result.exception() is None:
        result.result().close()
