"""The fronts: web processes that take predictions, seen from the owner of the queue, whose children they are."""

import logging
import math
import threading
import time
from concurrent.futures import Future, wait
from dataclasses import asdict
from typing import Any

from app.engine.counts import Counts, Each
from app.engine.front_jobs import FrontJobs
from app.engine.hub import Hub
from app.engine.protocol import Failure
from app.engine.scheduler import Scheduler
from app.engine.service import Service
from app.engine.web_processes import readers
from app.engine.web_protocol import (
    Ask,
    ConfigureFront,
    Leave,
    MakeRoom,
    Told,
    View,
)
from app.errors import Problem
from app.http.front.connection import Connection
from app.http.front.handover import PREDICTIONS, Handover
from app.http.front.loop import CROWD_LOOK_S, Loop
from app.http.front.pace import Crowd
from app.http.front_slot import FrontSlot
from app.http.measured import Measured
from app.http.rate import RateLimit
from app.settings import Settings

ANSWER_S = 1.0  # for a question
LEAVE_S = 1.0

log = logging.getLogger(__name__)


class Fronts:
    """All fronts of a service; as ``Beside`` for the loop of the owner."""

    def __init__(self, settings: Settings, service: Service):
        assert isinstance(service.parts.scheduler, Scheduler)
        self.service = service
        self.scheduler = service.parts.scheduler
        self.rate = RateLimit(settings.rate_limit)
        self.hub = Hub("from-fronts")
        self.leaving = threading.Event()  # no more processes are started, and no connections handed over
        self.is_over = False
        self._settings = settings
        self._loop: Loop | None = None
        self._crowd = Crowd()
        self._looking = threading.Lock()
        self._gave_way = (False, -math.inf)  # whether any client did, and when that was asked last
        self._asked: dict[int, Future[Any]] = {}
        self._number = 0
        self._lock = threading.Lock()
        self._lasting = Measured()  # of those that have ended
        self._measured: dict[int, Measured] = {}
        self._fronts = [FrontSlot(self, place) for place in range(1, self._counts.num_processes)]

    @property
    def _counts(self) -> Counts:
        return self.service.parts.counts

    def start(self, loop: Loop, crowd: Crowd) -> None:
        """Start every process; connections come from ``loop``, and some come back. ``crowd`` is of this process."""
        self._loop, self._crowd = loop, crowd
        self.hub.start()
        for front in self._fronts:
            front.start()

    def leave(self, patience_s: float) -> None:
        """Have every process end when its requests are answered."""
        self.leaving.set()
        for front in self._fronts:
            if jobs := front.jobs:
                jobs.send(Leave(patience_s))

    def end(self) -> None:
        """End every process, at once but for what can be answered by now."""
        self.leave(0.0)
        until_s = time.monotonic() + LEAVE_S
        for front in self._fronts:
            front.join(until_s - time.monotonic())
        self.is_over = True
        for front in self._fronts:
            front.join(None)
        self.hub.stop()

    @property
    def num_running(self) -> int:
        """Processes that have not ended."""
        return sum(front.runs for front in self._fronts)

    @property
    def num_ready(self) -> int:
        """Processes that take connections."""
        return sum(front.is_ready for front in self._fronts)

    @property
    def num_connections(self) -> int:
        """As ``Beside`` has it."""
        return sum(self._load(front) for front in self._fronts)

    def take_over(self, connection: Connection) -> bool:
        """Hand a connection that asks for a prediction to the front that has the fewest."""
        if self.leaving.is_set() or not connection.posts_to(PREDICTIONS):
            return False
        for front in sorted((front for front in self._fronts if front.is_lively), key=self._load):
            if front.handover and front.handover.send(connection):
                front.num_given += 1
                return True
        return False

    def make_room(self) -> None:
        """As ``Beside`` has it."""
        front = max(self._fronts, key=self._load)
        if front.is_ready and front.jobs:
            front.jobs.send(MakeRoom())

    def make_way(self) -> bool:
        """Have clients of all processes give way that are slow; whether there are any."""
        with self._looking:
            gave_way, asked_s = self._gave_way
            if time.monotonic() - asked_s > CROWD_LOOK_S:
                gave_way = self._crowd.make_room() | any(self._ask("room").values())
                self._gave_way = (gave_way, time.monotonic())
            return gave_way

    def progress(self, request_id: str) -> dict[str, Any] | None:
        """How far a prediction has come that one of them answers; None if there is no such."""
        return next((told for told in self._ask("progress", request_id).values() if told), None)

    def measured(self) -> Measured:
        """What all of them have counted so far."""
        self._ask("measures")
        with self._lock:
            return self._lasting.plus(*self._measured.values())

    def _ask(self, what: str, argument: str = "") -> dict[int, Any]:
        """What each of them answers, by its place; of those that answer in time."""
        asked: dict[int, Future[Any]] = {}
        for front in self._fronts:
            if front.is_lively and front.jobs:
                with self._lock:
                    self._number += 1
                    number, asked[front.place] = self._number, Future()
                    self._asked[number] = asked[front.place]
                front.jobs.send(Ask(number, what, argument))
        wait(asked.values(), ANSWER_S)
        with self._lock:
            self._asked = {number: future for number, future in self._asked.items() if future not in asked.values()}
        return {place: future.result() for place, future in asked.items() if future.done()}

    def configuration(self, place: int) -> ConfigureFront:
        """The first message to a front."""
        counts = self._counts
        _, num_readers = readers(self._settings, counts.num_processes)
        settings = self._settings.model_dump(mode="json") | {"readers": num_readers, "jobs_dir": None}
        return ConfigureFront(settings, self.service.parts.reader_mib, counts.num_processes, place)

    def asked(self, message: Ask, by: FrontJobs) -> None:
        """Answer a front. What other fronts must be asked for has a thread, so that each of them can ask meanwhile."""

        def answer() -> None:
            try:
                by.send(Told(message.number, self._answer(message)))
            except Problem as problem:
                by.send(Told(message.number, failure=Failure.of(problem)))

        if message.what == "room":
            threading.Thread(target=answer, name="room", daemon=True).start()
        else:
            answer()

    def _answer(self, message: Ask) -> Any:
        if message.what == "room":
            return self.make_way()
        if message.what == "rate":
            return self.rate.take(message.argument)
        supervisor = self.service.parts.supervisor
        return asdict(View(supervisor.state, supervisor.engines, supervisor.models, supervisor.resumes_in_s))

    def told(self, place: int, message: Told) -> None:
        """What a front answers; number 0 are its measures, which it tells when it is asked, and now and then."""
        with self._lock:
            if asked := self._asked.get(message.number):
                asked.set_result(message.value)
            elif not message.number:
                self._measured[place] = Measured.of(message.value)

    def joined(self, front: FrontSlot, handover: Handover) -> None:
        """A front takes connections from now on, and gives others back."""
        assert self._loop is not None
        self._loop.watch(handover)
        front.is_ready = True
        log.info("web process %d takes predictions", front.place)

    def forget(self, front: FrontSlot) -> None:
        """A front has ended; what it had counted stays."""
        with self._lock:  # so that no sum is without them
            if measured := self._measured.pop(front.place, None):
                self._lasting = self._lasting.plus(measured)

    def _load(self, front: FrontSlot) -> int:
        """Connections that a front has, or that are on their way to it."""
        return front.num_given - self._counts.of(front.place, Each.LEFT)
