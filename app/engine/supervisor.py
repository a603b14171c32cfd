"""The supervisor of the engines, one for each device."""

import threading
import time
from collections import Counter
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from pathlib import Path
from typing import get_args

from app.diagnostics.machine import usable_cores
from app.engine.breaker import Breaker
from app.engine.budget import MemoryBudget
from app.engine.connection import LOAD_S, START_S, HangLimits
from app.engine.devices import DeviceChoice, choose
from app.engine.engine import Engine
from app.engine.memory_plan import MemoryPlan
from app.engine.model_card import ModelCard
from app.engine.protocol import LoadModel, UnloadModel
from app.engine.scheduler import Scheduler
from app.engine.status import EngineState, EngineStatus
from app.errors import NotReady
from app.settings import MIB, EngineSettings, Settings
from app.zoo.experiment import split

SOON_S = 5.0
QUEUE_MEMORIES = 4  # clouds that wait may need so many times the memory of the devices


class Supervisor:
    """Starts an engine for every device of the settings. All engines have equal models."""

    def __init__(self, settings: Settings, scheduler: Scheduler, plan: MemoryPlan, budget: MemoryBudget):
        self._settings = settings
        self._scheduler = scheduler
        self._plan = plan
        self._budget = budget
        self._changed = threading.Condition()
        self._changing = threading.Lock()
        self._unloaded: set[str] = set()
        hang_limits = HangLimits(settings.engine_silence_s, settings.engine_overrun_s)
        choices = choose(settings.device)
        num_on_cpu = sum(choice.torch_device == "cpu" for choice in choices)
        self._threads = settings.threads or (max(1, usable_cores() // num_on_cpu) if num_on_cpu > 1 else 0)
        self._engines = [
            Engine(
                choice,
                self._of_engine(choice),
                plan.pass_bytes,
                self._unloaded.copy,
                scheduler,
                self._notify,
                hang_limits,
                Breaker(settings.engine_failures, settings.engine_pause_s),
            )
            for choice in choices
        ]

    def start(self) -> None:
        """Start every engine; returns before they are ready."""
        for engine in self._engines:
            engine.start()

    def stop(self) -> None:
        """End every engine; jobs in them end in NotReady."""
        for engine in self._engines:
            engine.stop()

    def wait(self, timeout_s: float) -> EngineState:
        """The state of the engines once it is no longer 'starting', or after ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: self.state != "starting", timeout_s)
        return self.state

    def change(self, message: LoadModel | UnloadModel) -> None:
        """Load or unload a model on every engine that is ready, and remember it for those that start later.

        If none is ready, each that can be started does it then. Raises NotReady if none can be or another change is
        under way, and the problem of the first engine that could not do it.
        """
        if not self._changing.acquire(blocking=False):
            raise NotReady("Another model is being loaded or unloaded.", retry_after_s=5.0)
        try:
            before = self._unloaded.copy()
            self._remember(message)  # first, so that an engine that is ready from now on knows of it
            try:
                self._change(message)
            except BaseException:
                self._unloaded.clear()
                self._unloaded.update(before)
                raise
            self._scheduler.quarantine.forget(message.name)
        finally:
            self._scheduler.admission.counts.note_view()  # also if one engine has made it and another could not
            self._changing.release()

    def _remember(self, message: LoadModel | UnloadModel) -> None:
        if isinstance(message, UnloadModel):
            self._unloaded.add(message.name)
        else:
            self._unloaded.discard(message.name)

    def _change(self, message: LoadModel | UnloadModel) -> None:
        ready = [engine for engine in self._engines if engine.state == "ready"]
        futures = [engine.change(message) for engine in ready or self._engines]
        problems = [problem for future in futures if (problem := _outcome(future))]
        if problems and (ready or len(problems) == len(futures)):
            raise problems[0]

    @property
    def is_alive(self) -> bool:
        """Whether every engine is kept running; one that is not needs a new web process."""
        return all(engine.is_alive for engine in self._engines)

    @property
    def resumes_in_s(self) -> float:
        """Seconds until the first engine that rests is started again; if none rests, the usual seconds of a start."""
        return min((status.resumes_in_s for status in self.engines if status.resumes_in_s), default=SOON_S)

    @property
    def engines(self) -> list[EngineStatus]:
        """Status of every engine."""
        return [engine.status for engine in self._engines]

    @property
    def state(self) -> EngineState:
        """The first state, in the order of ``EngineState``, that an engine is in."""
        states = {engine.state for engine in self._engines}
        return next(state for state in get_args(EngineState) if state in states)

    @property
    def models(self) -> list[ModelCard]:
        """Cards of every model; served is what every engine that is ready serves."""
        known = [engine.models for engine in self._engines if engine.models and engine.state == "ready"]
        known = known or [engine.models for engine in self._engines if engine.models][:1]
        if not known:
            return []
        served = Counter(card.path for cards in known for card in cards if card.served)
        return [
            replace(card, served=False, reason=card.reason or "Not every engine serves it.")
            if served[card.path] < len(known)
            else card
            for card in known[0]
        ]

    def _of_engine(self, choice: DeviceChoice) -> EngineSettings:
        """What the engine of ``choice`` gets: settings of the service, with its own device and share of the cores."""
        models = _absolute(self._settings.models)
        return self._settings.part(EngineSettings, models=models, device=choice.torch_device, threads=self._threads)

    def _notify(self) -> None:
        state = self.state
        reason = next((status.reason for status in self.engines if status.reason), "")
        lost = f"No engine is left that could take this cloud. {reason}"
        is_lost = state in ("failed", "paused")
        self._scheduler.refuse(lost if is_lost else "", time.monotonic() + self.resumes_in_s)
        self._budget.total_bytes = self._plan.request_bytes(sum(engine.pass_bytes for engine in self._engines))
        total = sum(status.memory.total for status in self.engines)
        self._scheduler.admission.max_device_bytes = self._settings.queue_memory_mib * MIB or QUEUE_MEMORIES * total
        self._scheduler.admission.counts.note_view()
        with self._changed:
            self._changed.notify_all()


def _outcome(future: "Future[None]") -> BaseException | None:
    try:
        return future.exception(START_S + LOAD_S)
    except FutureTimeoutError:
        return NotReady("The engine did not change its models in time.")


def _absolute(models: str) -> str:
    """The setting ``models`` with absolute paths."""
    return ":".join(str(Path(part).expanduser().absolute()) for part in split(models))
