"""Who may wait for an engine, and whose turn is next."""

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from app.engine.packed import Packed
from app.engine.protocol import CloudMeta, SegmentationMeta, SegmentOptions
from app.errors import Busy, DeadlineExceeded, NotReady

MAX_RETRY_AFTER_S = 60.0
STOPPING = "The server is stopping."

_DECAY = 0.8  # weight of the past in the recent rate, per finished job


@dataclass(eq=False)
class Job:
    """One cloud on its way through an engine.

    Attributes:
        cloud: owned by the job, closed as soon as no engine needs it any more.
        options: how to answer.
        deadline: in seconds of ``time.monotonic``.
        result: the packed segmentation, or the problem that the job ended in.
        submitted, started: when it was queued and when an engine took it, in seconds of ``time.monotonic``.
    """

    cloud: Packed[CloudMeta]
    options: SegmentOptions
    deadline: float
    id: str = field(default_factory=lambda: uuid4().hex)
    result: "Future[Packed[SegmentationMeta]]" = field(default_factory=Future)
    submitted: float = field(default_factory=time.monotonic)
    started: float = math.nan

    @property
    def num_points(self) -> int:
        """Points of the cloud."""
        return self.cloud.num_points


class Scheduler:
    """A queue bounded in requests and in points, first come first served. For any number of threads.

    A request is admitted before its file is read and leaves when it is answered; its points count while they wait for
    an engine or are in one.
    """

    def __init__(self, max_requests: int, max_points: int):
        self._max_requests = max_requests
        self._max_points = max_points
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._num_requests = 0
        self._num_points = 0
        self._closed = False
        self._refusal = ""
        self._recent_points = 0.0
        self._recent_s = 0.0

    @property
    def load(self) -> tuple[int, int]:
        """Requests admitted and points queued or running at the moment."""
        return self._num_requests, self._num_points

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold one place among the requests; raises Busy where all are taken, NotReady once ``close`` was called."""
        with self._changed:
            if self._closed:
                raise NotReady(STOPPING)
            if self._num_requests >= self._max_requests:
                raise self._busy(f"{self._num_requests} requests are being answered, as many as this server admits.")
            self._num_requests += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_requests -= 1
                self._changed.notify_all()

    def run(self, cloud: Packed[CloudMeta], options: SegmentOptions, deadline: float) -> tuple[Job, Packed]:
        """Queue a cloud and wait for its segmentation, which is the caller's to close; the cloud stays the caller's.

        Raises Busy where the points are too many, DeadlineExceeded, NotReady after ``refuse``, or the problem that the
        job ended in.
        """
        job = self._submit(cloud, options, deadline)
        try:
            return job, job.result.result(max(0.0, deadline - time.monotonic()))
        except FutureTimeoutError:
            self._abandon(job)
            raise DeadlineExceeded("The cloud was not segmented in the time for the request.") from None

    def take(self, timeout_s: float) -> Job | None:
        """The next job for an engine, None if none came in time. It must be given back with ``finish`` or ``fail``."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout_s)
            while self._waiting:
                job = self._waiting.popleft()
                job.started = time.monotonic()
                if job.started < job.deadline:
                    return job
                self._leave(job)
                job.result.set_exception(DeadlineExceeded("The time for the request was over before its turn came."))
        return None

    def finish(self, job: Job, segmentation: Packed[SegmentationMeta]) -> None:
        """Hand over what the engine answered."""
        with self._changed:
            self._recent_points = _DECAY * self._recent_points + job.num_points
            self._recent_s = _DECAY * self._recent_s + time.monotonic() - job.started
            self._leave(job)
        job.result.set_result(segmentation)

    def fail(self, job: Job, problem: Exception) -> None:
        """End a job that an engine took in ``problem``."""
        with self._changed:
            self._leave(job)
        job.result.set_exception(problem)

    def refuse(self, reason: str) -> None:
        """No engine will take a job any more: end those that wait, and every one still to come, in NotReady."""
        with self._changed:
            self._refusal = reason
            jobs = list(self._waiting)
            self._waiting.clear()
        for job in jobs:
            self.fail(job, NotReady(reason))

    def close(self, grace_s: float) -> None:
        """Admit nothing more and wait up to ``grace_s`` for the requests that are here; what still waits then fails."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._num_requests == 0, grace_s)
        self.refuse(STOPPING)

    def _submit(self, cloud: Packed[CloudMeta], options: SegmentOptions, deadline: float) -> Job:
        with self._changed:
            if self._refusal:
                raise NotReady(self._refusal)
            total = self._num_points + cloud.num_points
            if self._num_points and total > self._max_points:
                raise self._busy(f"{self._num_points} points wait or are being segmented, too many to add this cloud.")
            job = Job(cloud.share(), options, deadline)
            self._num_points = total
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def _abandon(self, job: Job) -> None:
        """Nobody waits for ``job`` any more: take it from the queue, or drop what the engine makes of it."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                self._leave(job)
                return
        job.result.add_done_callback(_drop)

    def _leave(self, job: Job) -> None:
        self._num_points -= job.num_points
        job.cloud.close()
        self._changed.notify_all()

    def _busy(self, why: str) -> Busy:
        rate = self._recent_points / self._recent_s if self._recent_s else math.inf
        retry_after_s = min(MAX_RETRY_AFTER_S, max(1.0, math.ceil(self._num_points / rate)))
        return Busy(f"{why} Try again in {retry_after_s:.0f} s.", retry_after_s=retry_after_s)


def _drop(result: "Future[Packed[SegmentationMeta]]") -> None:
    if result.exception() is None:
        result.result().close()
