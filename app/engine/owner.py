"""The owner of the queue, seen from another web process: what ``Service`` needs of a scheduler and a supervisor."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from typing import Any

from pydantic import TypeAdapter

from app.engine.channel import Channel, ChannelError, close_all
from app.engine.counts import Counts, Each, Shared
from app.engine.deadline import STOPPING, Deadline
from app.engine.job import CloudJob, SegmentedCloud
from app.engine.model_card import ModelCard
from app.engine.packed import Packed
from app.engine.protocol import CloudMeta, Failure, LoadModel, UnloadModel
from app.engine.status import EngineState, EngineStatus
from app.engine.web_protocol import Abandon, Ask, Outcome, Submit, Told, View
from app.errors import NotReady, no_descriptors
from app.options import Options

ANSWER_S = 10.0  # for a question
SEND_S = 10.0

_VIEW = TypeAdapter(View)


class Owner:
    """Messages to and from the owner of the queue, for any number of threads; one of them calls ``listen``."""

    def __init__(self, channel: Channel):
        self._channel = channel
        self._sending = threading.Lock()
        self._jobs: dict[str, CloudJob] = {}
        self._asked: dict[int, Future[Told]] = {}
        self._numbers = itertools.count()

    def listen(self, answer: Callable[[Ask], Any], heard: Callable[[object], None]) -> None:
        """Hand on what the owner sends until it is gone: ``answer`` gives the value that a question asks for, which is
        quick, and ``heard`` gets messages that need no answer."""
        with suppress(ChannelError):
            while True:
                message, fds = self._channel.receive()
                if isinstance(message, Outcome | Failure):
                    self._end(message, fds)
                elif isinstance(message, Told):
                    if told := self._asked.pop(message.number, None):
                        told.set_result(message)
                elif isinstance(message, Ask):
                    self.send(Told(message.number, answer(message)))
                else:
                    heard(message)

    def send(self, message: object, fds: tuple[int, ...] = ()) -> None:
        """Send one message; raises NotReady if the owner is gone, or takes nothing."""
        try:
            with self._sending:
                self._channel.send(message, fds, time.monotonic() + SEND_S)
        except (ChannelError, TimeoutError):
            raise NotReady(STOPPING, retry_after_s=5.0) from None

    def ask(self, what: str, argument: str = "") -> Any:
        """What the owner answers; raises the problem that it tells, and NotReady if it does not answer."""
        number = next(self._numbers)
        told = self._asked[number] = Future()
        try:
            self.send(Ask(number, what, argument))
            answer = told.result(ANSWER_S)
        except FutureTimeoutError:
            raise NotReady("The process that has the queue does not answer.", retry_after_s=5.0) from None
        finally:
            self._asked.pop(number, None)
        if answer.failure:
            raise answer.failure.problem
        return answer.value

    def submit(self, job: CloudJob, message: Submit, fd: int) -> None:
        """Queue the cloud of ``fd``, which stays the caller's, as ``job``."""
        self._jobs[job.id] = job
        try:
            self.send(message, (fd,))
        except BaseException:
            self._jobs.pop(job.id, None)
            raise

    def abandon(self, job: CloudJob) -> None:
        """Nobody waits for ``job`` any more."""
        if self._jobs.pop(job.id, None):
            self.send(Abandon(job.id))
        elif job.result.exception() is None:  # it was done a moment ago
            job.result.result().segmentation.close()

    def _end(self, message: Outcome | Failure, fds: list[int]) -> None:
        job = self._jobs.pop(message.job_id, None)
        if job is None:
            close_all(fds)
        elif isinstance(message, Failure):
            job.result.set_exception(message.problem)
        elif not fds:
            job.result.set_exception(no_descriptors())
        else:
            job.started_s = job.submitted_s + message.waited_s
            segmentation = Packed(fds[0], message.layout, message.meta)
            job.result.set_result(SegmentedCloud(segmentation, message.num_voxels, message.batch_size))


class RemoteScheduler:
    """What ``Service`` needs of the owner's scheduler. For any number of threads."""

    def __init__(self, owner: Owner, counts: Counts):
        self._owner = owner
        self._counts = counts
        self._of_thread = threading.local()

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """As that of ``Scheduler``; ``submit`` ends it."""
        self._counts.add(Each.COMING, 1)
        self._of_thread.is_coming = True
        try:
            yield
        finally:
            self._arrived()

    def _arrived(self) -> None:
        if getattr(self._of_thread, "is_coming", False):
            self._of_thread.is_coming = False
            self._counts.add(Each.COMING, -1)

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
        """As that of ``Scheduler``, but that ``result`` raises what stands against the cloud."""
        if background_s:
            raise ValueError("jobs in the background are the owner's")
        job = CloudJob(cloud, options, deadline_s, shares, need_bytes)
        message = Submit(job.id, options, cloud.layout, cloud.meta, deadline_s, shares, need_bytes)
        self._arrived()  # before the owner looks for others that are coming
        self._owner.submit(job, message, cloud.fd)
        return job

    def result(self, job: CloudJob, deadline: Deadline) -> SegmentedCloud:
        """As that of ``Scheduler``."""
        return job.await_result(deadline, lambda problem: self._owner.abandon(job))

    @property
    def num_waiting(self) -> int:
        """The owner alone knows."""
        return 0

    @property
    def num_quarantined(self) -> int:
        """The owner alone knows."""
        return 0

    def stop(self) -> None:
        """The owner ends what waits."""


class RemoteSupervisor:
    """What ``Service`` needs of the owner's supervisor, as it is now. For any number of threads."""

    def __init__(self, owner: Owner, counts: Counts):
        self._owner = owner
        self._counts = counts
        self._lock = threading.Lock()
        self._view = View("starting")
        self._number = -1
        self._looked_s = 0.0

    def start(self) -> None:
        """The owner has started its engines."""

    def stop(self) -> None:
        """The owner stops its engines."""

    def wait(self, timeout_s: float) -> EngineState:
        """The owner waits."""
        return self.state

    def change(self, message: LoadModel | UnloadModel) -> None:
        """Models are the owner's to change."""
        raise NotReady(f"The process that has the engines changes {message.name}.")

    @property
    def is_alive(self) -> bool:
        """The owner says itself if only a restart helps."""
        return True

    @property
    def models(self) -> list[ModelCard]:
        """As those of ``Supervisor``."""
        return self._now().models

    @property
    def state(self) -> EngineState:
        """As that of ``Supervisor``."""
        return self._now().state

    @property
    def engines(self) -> list[EngineStatus]:
        """As those of ``Supervisor``."""
        return self._now().engines

    @property
    def resumes_in_s(self) -> float:
        """As that of ``Supervisor``."""
        view = self._now()
        return max(1.0, view.resumes_in_s - (time.monotonic() - self._looked_s))

    def _now(self) -> View:
        """What the owner has last told, unless something has changed since."""
        number = self._counts.shared(Shared.VIEW)
        if number == self._number:
            return self._view
        with self._lock:
            number = self._counts.shared(Shared.VIEW)  # before the answer, which may be younger
            if number != self._number:
                self._view = _VIEW.validate_python(self._owner.ask("view"))
                self._number, self._looked_s = number, time.monotonic()
            return self._view
