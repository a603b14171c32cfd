"""The engines of this service, one a device."""

import threading
from pathlib import Path

from app.engine.devices import choose
from app.engine.engine import Engine, EngineStatus
from app.engine.protocol import ModelCard
from app.engine.scheduler import Scheduler
from app.settings import Settings


class Supervisor:
    """Starts an engine for every device of the settings and keeps them running."""

    def __init__(self, settings: Settings, scheduler: Scheduler):
        arguments = [
            *("--models", _absolute(settings.models)),
            *("--threads", str(settings.threads)),
            *("--tile-voxels", str(settings.tile_voxels)),
            *("--log-level", settings.log_level),
        ]
        self._scheduler = scheduler
        self._changed = threading.Condition()
        self._engines = [Engine(choice, arguments, scheduler, self._notify) for choice in choose(settings.device)]

    def start(self) -> None:
        """Start every engine; returns before they are ready."""
        for engine in self._engines:
            engine.start()

    def stop(self) -> None:
        """End every engine; jobs in them end in NotReady."""
        for engine in self._engines:
            engine.stop()

    def wait(self, timeout_s: float) -> str:
        """The state of the engines once it is no longer 'starting', or after ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: self.state != "starting", timeout_s)
        return self.state

    @property
    def engines(self) -> list[EngineStatus]:
        """Status of every engine."""
        return [engine.status for engine in self._engines]

    @property
    def state(self) -> str:
        """'ready' if any engine is, 'failed' if all are, else 'starting' or 'stopped'."""
        states = {status.state for status in self.engines}
        return next(state for state in ("ready", "starting", "failed", "stopped") if state in states)

    @property
    def models(self) -> list[ModelCard]:
        """Cards of the first engine that has loaded them; the same models are on all."""
        return next((engine.models for engine in self._engines if engine.models), [])

    def _notify(self) -> None:
        if self.state == "failed":
            self._scheduler.refuse("No engine is left that could take this cloud.")
        with self._changed:
            self._changed.notify_all()


def _absolute(models: str) -> str:
    """The setting with paths that do not depend on where a process runs."""
    return ":".join(str(Path(part).expanduser().absolute()) for part in models.split(":") if part)
