"""The scheduler: clouds of requests go to engines, results go back."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from app.engine.admission import Admission
from app.engine.counts import Each
from app.engine.deadline import LOOK_S, STOPPING, Deadline
from app.engine.job import CloudJob, JobStatus, SegmentedCloud
from app.engine.job_queue import BatchLimits, JobQueue, Taker
from app.engine.packed import Packed
from app.engine.protocol import CloudMeta
from app.engine.quarantine import Quarantine
from app.errors import ClientGone, DeadlineExceeded, NotReady, Problem, Quarantined
from app.options import Options

ANY_ENGINE = Taker()


@dataclass(eq=False)
class Waiter:
    """A thread that waits for a job for ``taker``, until ``is_due``; ``changed`` has the scheduler's lock.

    ``grows`` says that there is a job, and that it waits for others to go with it.
    """

    taker: Taker
    is_due: Callable[[], bool]
    changed: threading.Condition
    grows: bool = False


class Scheduler:
    """Hands clouds of requests to engines, and their results to the requests. For any number of threads.

    Engines take jobs when they have room, and the one with the fewest gets the next; ``JobQueue`` says which that is,
    and ``Admission`` how many clouds may wait.
    """

    def __init__(self, admission: Admission, limits: BatchLimits):
        self.admission = admission
        self.quarantine = Quarantine()
        self._lock = threading.RLock()
        self._emptied = threading.Condition(self._lock)  # an engine may have nothing any more
        self._queue = JobQueue(limits, admission.counts)
        self._waiters: list[Waiter] = []
        self._held: set[str] = set()  # engines that get nothing
        self._is_stopped = False
        self._refusal = ""
        self._resumes_s: float | None = None

    @property
    def num_waiting(self) -> int:
        """Clouds that wait for an engine."""
        return len(self._queue)

    @property
    def num_quarantined(self) -> int:
        """Inputs that are not run any more."""
        return len(self.quarantine)

    @property
    def num_idle(self) -> int:
        """Engines that wait for a cloud, of those that have the fewest."""
        loads = [self._load(name) for name in {waiter.taker.name for waiter in self._waiters}]
        return loads.count(min(loads, default=0))

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """While a cloud is being read that will be submitted: batches that have room wait for it."""
        self.admission.counts.add(Each.COMING, 1)
        try:
            yield
        finally:
            self.admission.counts.add(Each.COMING, -1)
            with self._lock:
                self._notify()

    def submit(
        self,
        cloud: Packed[CloudMeta],
        options: Options,
        deadline_s: float,
        *,
        shares: bool = False,
        need_bytes: int = 0,
        background_s: float = 0.0,
    ) -> CloudJob:
        """Queue a cloud, which stays the caller's to close. ``need_bytes``, ``shares`` and ``background_s`` are as in
        ``CloudJob``.

        Raises Busy if points or bytes are too many, which those in the background never are; Quarantined; NotReady
        after ``refuse``.
        """
        self.quarantine.check(cloud, options.model)
        with self._lock:
            if self._refusal:
                raise self._refused()
            if not background_s:
                self.admission.add_cloud(cloud.num_points, need_bytes)
            try:
                job = CloudJob(cloud.share(), options, deadline_s, shares, need_bytes, background_s=background_s)
            except BaseException:
                if not background_s:
                    self.admission.remove_cloud(cloud.num_points, need_bytes)
                raise
            self._queue.add(job)
            self._notify()
        return job

    def result(self, job: CloudJob, deadline: Deadline) -> SegmentedCloud:
        """Wait for what an engine makes of ``job``; the segmentation is the caller's to close.

        Raises DeadlineExceeded, ClientGone, Quarantined, NotReady after ``refuse``, or the problem of the cloud.
        """
        return job.await_result(deadline, lambda problem: self.abandon(job, problem))

    def abandon(self, job: CloudJob, problem: Problem) -> None:
        """Nobody waits for ``job`` any more: take it from the queue, or drop what the engine makes of it."""
        with self._lock:
            if job.status is JobStatus.WAITING:
                self._queue.remove(job)
                self._end(job, problem)
            elif job.status is JobStatus.RUNNING:
                job.status = JobStatus.ABANDONED
            elif job.result.exception() is None:  # it was done a moment ago
                job.result.result().segmentation.close()

    def take(
        self, timeout_s: float, woken: Callable[[], bool] = lambda: False, taker: Taker = ANY_ENGINE
    ) -> list[CloudJob]:
        """The next jobs for an engine, none if none came in time or ``woken``; to be finished one by one.

        Several have the same model and share a pass. Several threads of one engine may take.
        """
        with self._lock:
            changed = threading.Condition(self._lock)
            waiter = Waiter(taker, lambda: self._may_take(taker) or woken(), changed)
            self._waiters.append(waiter)
            try:
                changed.wait_for(waiter.is_due, timeout_s)
                if self._may_take(taker) and self._queue.may_grow(self.num_idle, taker):
                    waiter.grows = True
                    waiter.is_due = lambda: not self._queue.may_grow(self.num_idle, taker)
                    changed.wait_for(waiter.is_due, self._queue.limits.delay_s)
                self._end_late()
                batch = self._queue.take(self.num_idle, taker) if self._may_take(taker) else []
            finally:
                self._waiters.remove(waiter)
            if len(self._queue):
                self._notify()  # another engine may be the one with the fewest now
        return [job for job in batch if not self._is_quarantined(job)]

    @contextmanager
    def holding(self, engine: str, woken: Callable[[], bool]) -> Iterator[None]:
        """Give the engine nothing, and go on once it has nothing, or ``woken``."""
        with self._lock:
            self._held.add(engine)
            while self._load(engine) and not woken():
                self._emptied.wait(LOOK_S)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(engine)
                self._notify()

    def wake(self) -> None:
        """Have every ``take`` look whether it was woken."""
        with self._lock:
            for waiter in self._waiters:
                waiter.changed.notify()

    def finish(self, job: CloudJob, outcome: SegmentedCloud | Problem) -> None:
        """Hand over what an engine answered to a job that it took."""
        if isinstance(outcome, SegmentedCloud) and job.losses:
            self.quarantine.pardon(job.cloud, job.options.model)
        with self._lock:
            deliver = self._settle(job, outcome)
        deliver()  # which may take the time of sending it

    def lost(self, jobs: Sequence[CloudJob], was_begun: bool, how: str) -> None:
        """An engine died with ``jobs``, as ``how`` says: each runs again, alone and after all others, but for one that
        did it too often.

        If several were in it, nobody knows which did it, so none is blamed yet; and none is for the end of a process
        that had not begun with them.
        """
        blame = None
        if was_begun and len(jobs) == 1:
            blame = self.quarantine.strike(jobs[0].cloud, jobs[0].options.model, how)
        with self._lock:
            self._queue.note_loss()
            for job in jobs:
                self._queue.release(job)
                if blame:
                    self._end(job, blame)
                elif job.status is JobStatus.ABANDONED:
                    self._end(job, ClientGone("Nobody waits for it any more."))
                elif self._refusal:
                    self._end(job, self._refused())
                else:
                    job.losses += 1
                    job.status = JobStatus.WAITING
                    self._queue.add(job)
            self._notify()

    def refuse(self, reason: str, resumes_s: float | None = None) -> None:
        """No engine will take a job for now: end those that wait, and those to come, in NotReady.

        ``resumes_s`` is when that may be over, in seconds of ``time.monotonic``. A reason of '' ends it, but not after
        ``stop``.
        """
        with self._lock:
            if self._is_stopped:
                return
            self._refusal, self._resumes_s = reason, resumes_s
            if reason:
                for job in list(self._queue):
                    self._queue.remove(job)
                    self._end(job, self._refused())

    def stop(self) -> None:
        """End every job that waits or is to come in NotReady, for good."""
        with self._lock:
            self.refuse(STOPPING)
            self._is_stopped = True

    def _load(self, engine: str) -> int:
        return len(self._queue.running(engine))

    def _may_take(self, taker: Taker) -> bool:
        """Whether there is a job for this engine, and none with fewer waits for it."""
        if taker.name in self._held or not self._queue.ready(taker):
            return False
        if not (load := self._load(taker.name)):
            return True
        takers = {waiter.taker.name: waiter.taker for waiter in self._waiters}
        others = (other for name, other in takers.items() if self._load(name) < load and name not in self._held)
        return not any(self._queue.ready(other) for other in others)

    def _notify(self) -> None:
        """Something has changed: wake those whose wait is over.

        No more are woken than there are jobs, and of an engine one thread, which wakes the next if it leaves anything:
        each takes of the interpreter, which all requests share.
        """
        self._emptied.notify_all()
        num_jobs = len(self._queue)
        woken: set[str] = set()
        for waiter in self._waiters:
            if waiter.grows:
                if waiter.is_due():
                    waiter.changed.notify()
            elif len(woken) < num_jobs and waiter.taker.name not in woken and waiter.is_due():
                woken.add(waiter.taker.name)
                waiter.changed.notify()

    def _end(self, job: CloudJob, outcome: SegmentedCloud | Problem) -> None:
        """``job``, which does not wait any more, ends in ``outcome``."""
        self._settle(job, outcome)()

    def _settle(self, job: CloudJob, outcome: SegmentedCloud | Problem) -> Callable[[], None]:
        """Count ``job`` no more; what is returned hands ``outcome`` to whoever waits for it."""
        was_abandoned, job.status = job.status is JobStatus.ABANDONED, JobStatus.DONE
        num_beside = self._load(job.engine)
        self._queue.release(job)
        took_s = None
        if isinstance(outcome, SegmentedCloud):
            self._queue.note_voxels(job, outcome.num_voxels)
            took_s = (time.monotonic() - job.started_s) / max(outcome.batch_size, num_beside)
        if not job.background_s:
            self.admission.remove_cloud(job.num_points, job.need_bytes, took_s)
        job.cloud.close()
        self._notify()
        if isinstance(outcome, Problem):
            return partial(job.result.set_exception, outcome)
        return outcome.segmentation.close if was_abandoned else partial(job.result.set_result, outcome)

    def _end_late(self) -> None:
        """End the jobs whose deadline passed before an engine took them."""
        now_s = time.monotonic()
        for job in [job for job in self._queue if job.deadline_s <= now_s]:
            self._queue.remove(job)
            self._end(job, DeadlineExceeded("The time for the request was over before its turn came."))

    def _is_quarantined(self, job: CloudJob) -> bool:
        """Whether the cloud was struck too often while it waited; it is ended then."""
        try:
            self.quarantine.check(job.cloud, job.options.model)
        except Quarantined as problem:
            self.finish(job, problem)
            return True
        return False

    def _refused(self) -> NotReady:
        resumes_s = self._resumes_s
        left_s = None if resumes_s is None else max(1.0, resumes_s - time.monotonic())
        return NotReady(self._refusal, retry_after_s=left_s)
