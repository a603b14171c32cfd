"""One front, seen from the owner of the queue: its process is started, served, and replaced when it is lost."""

import logging
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from app.engine.back_off import BackOff
from app.engine.channel import close_all
from app.engine.child import ChildProcess
from app.engine.counts import Each
from app.engine.front_jobs import FrontJobs
from app.engine.web_protocol import Abandon, Ask, FrontReady, Submit, Told
from app.http.front.handover import Handover

if TYPE_CHECKING:
    from app.http.fronts import Fronts

LOOK_S = 0.5
LIVELY_S = 3.0  # without a sign of life, before it gets no more connections
SILENT_S = 30.0  # without a sign of life, before it is ended
START_S = 120.0
FIRST_REST_S, MAX_REST_S = 0.5, 30.0  # before the next one is started
END_S = 0.5

log = logging.getLogger(__name__)


class FrontSlot:
    """Keeps one front running, in a thread of its own.

    Attributes:
        place: its number among the web processes.
        is_ready: whether it takes connections.
        num_given: connections that its present process was given.
        jobs, handover: how to reach it.
    """

    def __init__(self, fronts: "Fronts", place: int):
        self.place = place
        self.is_ready = False
        self.num_given = 0
        self.jobs: FrontJobs | None = None
        self.handover: Handover | None = None
        self._fronts = fronts
        self._back_off = BackOff(FIRST_REST_S, MAX_REST_S)
        self._thread = threading.Thread(target=self._keep_running, name=f"front-{place}", daemon=True)

    def start(self) -> None:
        """Start the process; ``is_ready`` says when it takes connections."""
        self._thread.start()

    def join(self, limit_s: float | None) -> None:
        """Wait until its process has ended, so long at most."""
        if self._thread.ident:
            self._thread.join(None if limit_s is None else max(0.0, limit_s))

    @property
    def silence_s(self) -> float:
        """Seconds since its last sign of life, which it gives every second."""
        return (time.monotonic_ns() - self._fronts.service.parts.counts.of(self.place, Each.ALIVE)) / 1e9

    @property
    def is_lively(self) -> bool:
        """Whether it takes connections, and answers."""
        return self.is_ready and self.silence_s < LIVELY_S

    @property
    def runs(self) -> bool:
        """Whether there is a process, or will be."""
        return self._thread.is_alive()

    def _keep_running(self) -> None:
        while not self._fronts.leaving.is_set():
            try:
                how = self._run()
            except OSError as error:
                how = f"could not be started: {error}"
            if not self._fronts.leaving.is_set():
                log.error("A web process for predictions %s. Another is started.", how)
                self._fronts.leaving.wait(self._back_off.next_s())

    def _run(self) -> str:
        """Start a process and serve it until it ends; says how it ended."""
        counts = self._fronts.service.parts.counts
        handover, theirs = Handover.pair()
        self.handover = handover
        with theirs:
            arguments = ["--handover-fd", str(theirs.fileno()), "--counts-fd", str(counts.fd)]
            descriptors = [theirs.fileno(), counts.fd]
            child = ChildProcess("app.http.front_process", arguments, os.environ, descriptors)
        child.channel.may_lack = True
        jobs = FrontJobs(child.channel, self._fronts.scheduler)
        gone = self._fronts.hub.add(child.channel, partial(self._take, jobs, handover))
        how = ""
        try:
            jobs.send(self._fronts.configuration(self.place))  # before anything else can be
            self.jobs = jobs
            how = self._watch(gone)
        finally:
            child.channel.shutdown()
            gone.wait()  # no message of it comes any more
            was_ready, self.is_ready = self.is_ready, False
            ended = child.end(0.0 if how else END_S)
            jobs.stop()
            self._fronts.forget(self)
            if not was_ready:  # else the loop closes it
                handover.close()
            counts.clear(self.place)
            self.num_given = 0
        return f"{how}, so it {ended}" if how else ended

    def _watch(self, gone: threading.Event) -> str:
        """Wait until the process is gone, silent, or not needed any more; says what it did, but for the first."""
        start_s = time.monotonic()
        while not self._fronts.is_over:
            if gone.wait(LOOK_S):
                return ""
            if self._fronts.leaving.is_set() and not self.is_ready:
                break  # it may have started too late to hear of it
            if self.is_ready and self.silence_s > SILENT_S:
                return f"gave no sign of life for {SILENT_S:g} s"
            if not self.is_ready and time.monotonic() - start_s > START_S:
                return f"did not start within {START_S:g} s"
        return "was not needed any more"

    def _take(self, jobs: FrontJobs, handover: Handover, message: object, fds: list[int]) -> None:
        """Do what the process asks for."""
        if isinstance(message, Submit):
            jobs.submit(message, fds)
            return
        close_all(fds)
        if isinstance(message, Abandon):
            jobs.abandon(message)
        elif isinstance(message, Ask):
            self._fronts.asked(message, jobs)
        elif isinstance(message, Told):
            self._fronts.told(self.place, message)
        elif isinstance(message, FrontReady) and not self._fronts.leaving.is_set():
            self._back_off.reset()
            self._fronts.joined(self, handover)
