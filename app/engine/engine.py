"""One engine, seen from the web process: its process is started, given jobs, and replaced when it is lost."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from app.engine.breaker import Breaker
from app.engine.busy_time import BusyTime
from app.engine.channel import ChannelError
from app.engine.child import ChildProcess
from app.engine.connection import EngineConnection, HangLimits, Hung
from app.engine.deadline import STOPPING
from app.engine.devices import DeviceChoice
from app.engine.engine_process import EngineProcess
from app.engine.environment import open_environment
from app.engine.job import CloudJob, SegmentedCloud
from app.engine.job_queue import Taker
from app.engine.missing_models import MissingModels
from app.engine.model_card import ModelCard
from app.engine.model_changes import ModelChanges
from app.engine.process_exit import DEVICE_LOST
from app.engine.protocol import Configure, LoadModel, UnloadModel
from app.engine.scheduler import Scheduler
from app.engine.status import EngineState, EngineStatus
from app.engine.threads import thread_environment
from app.errors import NotReady, Problem
from app.settings import EngineSettings

POLL_S = 0.2  # how soon an engine that died idle is noticed
END_S = 2.0
ROOM_SHARE = 0.9  # of the device's memory beside the weights, for all batches in flight
DEAD = "Its thread in the web process ended by a bug, which is in the log; restart the service."

log = logging.getLogger(__name__)


class Engine:
    """Keeps one engine process running and gives it the scheduler's jobs, in threads of its own: one for each batch
    that the process has in flight."""

    def __init__(
        self,
        choice: DeviceChoice,
        settings: EngineSettings,
        pass_bytes: int,
        unloaded: Callable[[], set[str]],
        scheduler: Scheduler,
        changed: Callable[[], None],
        hang_limits: HangLimits,
        breaker: Breaker,
    ):
        """``settings`` and ``pass_bytes`` are those of every process, ``unloaded`` gives the models that are not to be
        loaded now; ``changed`` is called when the status is another."""
        self.models: list[ModelCard] = []
        self._is_on_cpu = False
        self._status = EngineStatus(choice.name)
        self._choice = choice
        self._settings = settings
        self._pass_bytes = pass_bytes
        self._unloaded = unloaded
        self._scheduler = scheduler
        self._changed = changed
        self._hang_limits = hang_limits
        self._breaker = breaker
        self._restarts: Counter[str] = Counter()
        self._busy = BusyTime()
        self._resumes_s = 0.0
        self._missing_models = MissingModels()
        self._changes = ModelChanges()
        self._process: EngineProcess | None = None
        self._stopping = threading.Event()
        self._urgent = threading.Event()  # set to end a rest early: to stop, or to change models
        self._thread = threading.Thread(target=self._keep_running, name=f"engine-{choice.name}", daemon=True)

    @property
    def status(self) -> EngineStatus:
        """At this moment."""
        process = self._process
        resumes_in_s = max(0.0, self._resumes_s - time.monotonic())
        status = replace(
            self._status, resumes_in_s=resumes_in_s, busy_s=self._busy.total_s, device_busy_s=self._busy.device_s
        )
        return replace(status, memory=process.heartbeat.memory) if process else status

    @property
    def state(self) -> EngineState:
        """That of ``status``, which takes longer to tell."""
        return self._status.state

    @property
    def is_alive(self) -> bool:
        """Whether the thread that restarts it runs; if it ended, only a new web process helps."""
        return self._thread.is_alive() or not self._thread.ident

    @property
    def pass_bytes(self) -> int:
        """What its models and their largest pass take of the machine's memory; 0 on a device with memory of its own."""
        served = [card for card in self.models if card.served and self._is_on_cpu]
        largest = max((card.bytes_per_voxel * card.tile_voxels for card in served), default=0)
        return largest + sum(card.memory_bytes for card in served)

    def start(self) -> None:
        """Start the process; ``status`` says when it is ready."""
        self._thread.start()

    def stop(self) -> None:
        """End the process; a job in it ends in NotReady."""
        self._stopping.set()
        self._urgent.set()
        self._scheduler.wake()
        if process := self._process:
            process.shutdown()
        if self._thread.ident:
            self._thread.join()

    def change(self, message: LoadModel | UnloadModel) -> "Future[None]":
        """Load or unload a model between two jobs; the future ends in the problem if that fails.

        An engine that is not ready does so as soon as it is; one that rests starts at once.
        """
        done = self._changes.add(message)
        self._urgent.set()
        self._scheduler.wake()
        if not self.is_alive:
            self._changes.refuse(DEAD)
        return done

    def _keep_running(self) -> None:
        try:
            while not self._stopping.is_set():
                rest_s = self._run()
                self._changes.refuse(self._status.reason)
                self._rest(rest_s)
            self._set(EngineStatus(self._choice.name, "stopped"))
        except BaseException:
            log.critical("the thread of the engine on %s met a bug", self._choice.name, exc_info=True)
            self._set(replace(self._status, state="failed", reason=DEAD, pid=None))
        finally:
            self._changes.refuse(STOPPING if self._stopping.is_set() else DEAD)

    def _run(self) -> float:
        """Start a process and serve with it until it is lost or the engine stops; seconds to rest after that."""
        try:
            process = self._begin()
        except Exception as error:  # no process, no memory or no descriptor to be had
            return self._lose("start", f"could not be started: {error}")
        try:
            self._await_ready(process)
            process.serve(lambda connection: self._feed(process, connection))
            return 0.0
        except Problem as problem:
            return self._fail(problem.detail)
        except Exception as error:
            if not isinstance(error, (ChannelError, Hung, TimeoutError)):
                log.exception("the engine on %s met a bug", self._choice.name)
            how = process.end(END_S if isinstance(error, ChannelError) else 0.0)
            is_hung = isinstance(error, (Hung, TimeoutError))
            return self._lose("hung" if is_hung else _kind(process.child), f"{error}, so it {how}" if is_hung else how)
        finally:
            self._process = None
            process.end(0.0)

    def _rest(self, seconds: float) -> None:
        """Wait so long, or until the engine is stopped or to change its models."""
        self._urgent.clear()
        if not self._changes and not self._stopping.is_set():
            self._urgent.wait(seconds)
        self._resumes_s = 0.0

    def _begin(self) -> EngineProcess:
        environment = open_environment() | thread_environment() | self._choice.environment
        self._process = process = EngineProcess(environment, self._hang_limits)
        status = replace(self._status, pid=process.child.pid)
        self._set(status if status.state == "failed" else replace(status, state="starting"))  # failed until it is ready
        return process

    def _await_ready(self, process: EngineProcess) -> None:
        """Wait until the models are loaded; raises NotReady if the process cannot even look for them."""
        if self._stopping.is_set():
            return
        unloaded = tuple(sorted(self._unloaded()))
        ready = process.ready(Configure(self._settings, self._pass_bytes, unloaded))
        self.models, self._is_on_cpu = ready.models, ready.device == "cpu"
        self._catch_up(process.first)
        self._missing_models.update(self.models, self._unloaded())
        self._breaker.ready()
        status = replace(self._status, device_name=ready.device_name, threads=ready.threads, warnings=ready.warnings)
        self._set(replace(status, state="ready"))

    def _catch_up(self, connection: EngineConnection) -> None:
        """Make the changes that the other engines made while this one started."""
        served = {card.name for card in self.models if card.served}
        missed = {card.name for card in self.models if card.is_unloaded} - self._unloaded()
        changes: list[LoadModel | UnloadModel] = [*map(UnloadModel, served & self._unloaded()), *map(LoadModel, missed)]
        for message in changes:
            try:
                self.models = connection.change(message)
            except Problem as problem:
                log.error("engine on %s: %s", self._choice.name, problem.detail)

    def _feed(self, process: EngineProcess, connection: EngineConnection) -> None:
        """Give jobs, and over the first connection changes, to the process until the engine is stopped.

        Raises what a lost process leads to.
        """
        is_first = connection is process.first

        def woken() -> bool:
            return (is_first and bool(self._changes)) or self._stopping.is_set() or process.is_over.is_set()

        while not (self._stopping.is_set() or process.is_over.is_set()):
            if not process.child.alive():
                raise ChannelError("ended while idle")
            connection.check_heartbeat()
            if is_first and (self._changes or self._missing_models.is_due):
                with self._scheduler.holding(self._choice.name, process.is_over.is_set):
                    self._change(connection)
            elif jobs := self._scheduler.take(POLL_S, woken, self._taker(process)):
                self._serve(connection, jobs)
                self._breaker.answered()

    def _taker(self, process: EngineProcess) -> Taker:
        memory = process.heartbeat.memory
        return Taker(self._choice.name, ROOM_SHARE * (memory.total - memory.models), process.num_lanes)

    def _serve(self, connection: EngineConnection, jobs: list[CloudJob]) -> None:
        with self._busy.working():
            for job, outcome in connection.serve(jobs):
                if isinstance(outcome, SegmentedCloud):
                    self._busy.add_device_s(outcome.device_s)
                self._scheduler.finish(job, outcome)

    def _change(self, connection: EngineConnection) -> None:
        """Make the next change of models that waits, else load those that are missing."""
        if not self._changes:
            self._load_missing(connection)
            return

        def make(message: LoadModel | UnloadModel) -> None:
            self.models = connection.change(message)

        self._changes.make_next(make)
        self._missing_models.update(self.models, self._unloaded())

    def _load_missing(self, connection: EngineConnection) -> None:
        """Load the models that are missing, if their files can be used by now."""
        begin_s = time.monotonic()
        for name in self._missing_models.names:
            try:
                self.models = connection.change(LoadModel(name))
                log.warning("engine on %s: model %s is served again.", self._choice.name, name)
            except Problem as problem:
                log.debug("engine on %s: %s", self._choice.name, problem.detail)
        self._missing_models.update(self.models, self._unloaded(), time.monotonic() - begin_s)
        self._changed()

    def _fail(self, reason: str) -> float:
        """Note that the process has nothing to serve; seconds to rest before the next one."""
        reason = f"{reason.rstrip('.')}."
        rest_s = self._breaker.failed()
        log.error("the engine on %s cannot serve: %s It is tried again in %g s.", self._choice.name, reason, rest_s)
        self._resumes_s = time.monotonic() + rest_s
        self._set(replace(self._status, state="failed", reason=reason, pid=None))
        return rest_s

    def _lose(self, kind: str, how: str) -> float:
        """Note that the process was lost and queue its jobs again; seconds to rest before the next one."""
        process = self._process
        jobs = process.unfinished if process else []
        if self._stopping.is_set():
            for job in jobs:
                self._scheduler.finish(job, NotReady(STOPPING))
            return 0.0
        was_begun = process is not None and process.was_begun
        self._restarts[kind] += 1
        rest_s = self._breaker.lost(over_clouds=was_begun)
        paused = self._breaker.is_open and not was_begun
        reason = f"The engine process {how}."
        if paused:
            reason = f"{reason} It was lost {self._breaker.num_failures} times in a row, so it rests {rest_s:g} s."
        pid = self._status.pid or "none"
        log.error("engine on %s (process %s): %s It is started again.", self._choice.name, pid, reason)
        self._resumes_s = time.monotonic() + rest_s
        self._set(
            replace(
                self._status,
                state="paused" if paused else "starting",
                reason=reason,
                pid=None,
                num_restarts=self._restarts.total(),
                restarts=dict(self._restarts),
            )
        )
        self._scheduler.lost(jobs, was_begun, how)
        return rest_s

    def _set(self, status: EngineStatus) -> None:
        self._status = status
        self._changed()


def _kind(child: ChildProcess) -> str:
    code = child.process.returncode
    if code is not None and code < 0:
        return "killed"
    return "device" if code == DEVICE_LOST else "exit"
