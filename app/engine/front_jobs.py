"""Clouds that another web process has in the queue of this one."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from app.engine.channel import Channel, ChannelError, MessageTooLarge, close_all
from app.engine.job import CloudJob, SegmentedCloud
from app.engine.packed import Packed
from app.engine.protocol import Failure
from app.engine.scheduler import Scheduler
from app.engine.web_protocol import Abandon, Outcome, Submit
from app.errors import ClientGone, Problem, no_descriptors, storage_problem

SEND_S = 10.0

Item = Callable[[], None]


class FrontJobs:
    """The clouds of one front, and all that is sent to it. For any number of threads.

    Whoever has something to send does it at once, if nobody else does and the front takes it; else it is left to a
    thread, so that none that has an engine waits for a process that takes nothing.
    """

    def __init__(self, channel: Channel, scheduler: Scheduler):
        self._channel = channel
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._jobs: dict[str, CloudJob] = {}
        self._is_over = False
        self._sending = threading.Lock()
        self._items: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, name="to-front", daemon=True)
        self._thread.start()

    def submit(self, message: Submit, fds: list[int]) -> None:
        """Queue a cloud; ``fds`` are closed here. The front gets its outcome, or why it was not queued."""
        try:
            if not fds:
                raise no_descriptors()
            job = self._scheduler.submit(
                Packed(fds[0], message.layout, message.meta),
                message.options,
                message.deadline_s,
                shares=message.shares,
                need_bytes=message.need_bytes,
            )
        except Problem as problem:
            self.send(Failure.of(problem, message.job_id))
            return
        except OSError as error:
            self.send(Failure.of(storage_problem(error, "this request"), message.job_id))
            return
        finally:
            close_all(fds)
        with self._lock:
            self._jobs[message.job_id] = job
        job.result.add_done_callback(lambda result: self._done(message.job_id, job, result))

    def abandon(self, message: Abandon) -> None:
        """Nobody waits for this cloud any more."""
        with self._lock:
            job = self._jobs.pop(message.job_id, None)
        if job:
            self._scheduler.abandon(job, ClientGone("Nobody waits for it any more."))

    def send(self, message: object) -> None:
        """Send a message without descriptors, now or later."""
        self._do(lambda: self._send(message))

    def stop(self) -> None:
        """The front is gone: nobody waits for its clouds any more."""
        with self._lock:
            names, self._is_over = list(self._jobs), True
        for name in names:
            self.abandon(Abandon(name))
        self._items.put(None)  # behind all others
        self._thread.join()

    def _done(self, name: str, job: CloudJob, result: "Future[SegmentedCloud]") -> None:
        with self._lock:
            is_waited_for = self._jobs.pop(name, None) is not None
        if is_waited_for:  # else whoever abandoned it closes what there is
            self._do(lambda: self._answer(name, job, result))

    def _answer(self, name: str, job: CloudJob, result: "Future[SegmentedCloud]") -> None:
        problem = result.exception()
        if problem is not None:
            self._send(Failure.of(problem if isinstance(problem, Problem) else Problem(str(problem)), name))
            return
        done = result.result()
        with done.segmentation as segmentation:
            waited_s = job.started_s - job.submitted_s
            layout, meta = segmentation.layout, segmentation.meta
            outcome = Outcome(name, layout, meta, done.num_voxels, done.batch_size, waited_s)
            try:
                self._send(outcome, (segmentation.fd,))
            except MessageTooLarge as large:
                self._send(Failure.of(large, name))

    def _send(self, message: object, fds: tuple[int, ...] = ()) -> None:
        try:
            self._channel.send(message, fds, time.monotonic() + SEND_S)
        except (ChannelError, TimeoutError):
            self._channel.shutdown()  # whoever receives from it notices, and ends the process

    def _do(self, item: Item) -> None:
        if self._sending.acquire(blocking=False):
            try:
                if self._channel.takes_more:
                    item()
                    return
            finally:
                self._sending.release()
        with self._lock:
            if not self._is_over:
                self._items.put(item)
                return
        item()  # it fails, and closes what it has

    def _send_all(self) -> None:
        while item := self._items.get():
            with self._sending:
                item()
