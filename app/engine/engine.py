"""One engine process, seen from its parent: started, fed with jobs, and started again when it dies."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from app.engine.channel import ChannelError, close_all
from app.engine.child import Child
from app.engine.devices import DeviceChoice
from app.engine.packed import Packed, check_segmentation
from app.engine.protocol import Failure, ModelCard, Ready, Segment, SegmentationMeta, Segmented
from app.engine.scheduler import STOPPING, Job, Scheduler
from app.engine.threads import thread_environment
from app.errors import NotReady, Problem, by_status

POLL_S = 0.2  # how soon an engine that died idle is noticed
END_S = 2.0
OVERRUN_S = 30.0  # how long a job may run on after its deadline before its engine counts as stuck
MAX_BACK_OFF_S = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineStatus:
    """State of one engine: starting, ready, failed (needs its operator) or stopped; ``reason`` of the last trouble."""

    device: str
    state: str = "starting"
    reason: str = ""
    pid: int | None = None
    num_restarts: int = 0
    device_name: str = ""
    threads: int = 0
    warnings: list[str] = field(default_factory=list)


class Engine:
    """Keeps one engine process running and gives it the scheduler's jobs, in a thread of its own."""

    def __init__(self, choice: DeviceChoice, arguments: list[str], scheduler: Scheduler, changed: Callable[[], None]):
        self.status = EngineStatus(choice.name)
        self.models: list[ModelCard] = []
        self._choice = choice
        self._arguments = ["--device", choice.torch_device, *arguments]
        self._scheduler = scheduler
        self._changed = changed
        self._child: Child | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_running, name=f"engine-{choice.name}", daemon=True)

    def start(self) -> None:
        """Start the process; ``status`` says when it is ready."""
        self._thread.start()

    def stop(self) -> None:
        """End the process; a job in it ends in NotReady."""
        self._stopping.set()
        if child := self._child:
            child.channel.shutdown()
        if self._thread.ident:
            self._thread.join()

    def _keep_running(self) -> None:
        num_failures = 0
        while not self._stopping.is_set():
            try:
                environment = thread_environment() | self._choice.environment
                child = self._child = Child("app.engine.process", self._arguments, environment)
            except OSError as error:
                num_failures += 1
                self._restart_after(f"could not be started: {error}", num_failures)
                continue
            try:
                self._await_ready(child)
                num_failures = 0
                self._feed(child)
            except Problem as problem:
                log.error("the engine on %s cannot serve: %s", self._choice.name, problem.detail)
                self._set(replace(self.status, state="failed", reason=problem.detail, pid=None))
                return
            except Exception as error:
                if not isinstance(error, (ChannelError, TimeoutError)):
                    log.exception("the engine on %s met a bug", self._choice.name)
                how = child.end(0.0 if isinstance(error, TimeoutError) else END_S)
                num_failures += 1
                self._restart_after(how, num_failures)
            finally:
                child.end(0.0)
        self._set(EngineStatus(self._choice.name, "stopped"))

    def _await_ready(self, child: Child) -> None:
        """Wait until the models are loaded; raises NotReady where there is nothing to serve."""
        self._set(replace(self.status, pid=child.pid))
        if self._stopping.is_set():
            return
        message, _ = child.channel.receive()
        if isinstance(message, Failure):
            raise NotReady(message.detail)
        if not isinstance(message, Ready):
            raise ChannelError(f"sent {type(message).__name__} instead of Ready")
        status = replace(
            self.status,
            device_name=message.device_name,
            threads=message.threads,
            warnings=message.warnings,
        )
        self.models = message.models
        if not any(card.served for card in message.models):
            reasons = "; ".join(f"{card.name}: {card.reason}" for card in message.models) or "no model was found"
            raise NotReady(f"No model can be served. {reasons}")
        self._set(replace(status, state="ready"))

    def _feed(self, child: Child) -> None:
        """Give jobs to the process until the engine is stopped; raises what a lost process leads to."""
        while not self._stopping.is_set():
            if not child.alive():
                raise ChannelError("ended while idle")
            job = self._scheduler.take(POLL_S)
            if job is not None:
                self._serve(child, job)

    def _serve(self, child: Child, job: Job) -> None:
        deadline_unix_s = time.time() + job.deadline - time.monotonic()
        request = Segment(job.id, job.options, job.cloud.layout, job.cloud.meta, deadline_unix_s)
        try:
            child.channel.send(request, [job.cloud.fd], job.deadline + OVERRUN_S)
            answer, fds = child.channel.receive(job.deadline + OVERRUN_S)
            try:
                result = _accept(answer, fds, job)
            except BaseException:
                close_all(fds)
                raise
        except Problem as problem:
            self._scheduler.fail(job, problem)
        except Exception:
            reason = STOPPING if self._stopping.is_set() else "The engine was lost while it had this cloud."
            self._scheduler.fail(job, NotReady(reason, retry_after_s=5.0))
            raise
        else:
            self._scheduler.finish(job, result)

    def _restart_after(self, how: str, num_failures: int) -> None:
        if self._stopping.is_set():
            return
        log.error("the engine process on %s %s; it is started again", self._choice.name, how)
        num_restarts = self.status.num_restarts + 1
        self._set(
            replace(
                self.status, state="starting", reason=f"The engine process {how}.", pid=None, num_restarts=num_restarts
            )
        )
        self._stopping.wait(min(MAX_BACK_OFF_S, 0.5 * 2 ** (num_failures - 1)))

    def _set(self, status: EngineStatus) -> None:
        self.status = status
        self._changed()


def _accept(answer: object, fds: list[int], job: Job) -> Packed[SegmentationMeta]:
    """The segmentation in ``answer``, owning its descriptor; raises the problem that the answer tells of."""
    if isinstance(answer, Failure) and answer.job_id == job.id:
        raise by_status(answer.status)(answer.detail)
    if not isinstance(answer, Segmented) or answer.job_id != job.id or len(fds) != 1:
        raise ChannelError(f"sent {type(answer).__name__} with {len(fds)} descriptors for job {job.id}")
    result = Packed(fds[0], answer.layout, answer.meta)
    try:
        check_segmentation(result)
    except ValueError as error:
        raise ChannelError(f"sent a wrong segmentation: {error}") from error
    if result.num_points != job.num_points:
        raise ChannelError(f"sent {result.num_points} labels for {job.num_points} points")
    return result
