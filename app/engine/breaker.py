"""Pauses between a lost engine process and the next one."""

import math
import time

from app.engine.back_off import BackOff

FIRST_REST_S, MAX_REST_S = 0.5, 30.0


class Breaker:
    """Decides how long an engine rests after a loss: ``pause_s`` after ``failures`` losses in a row without a job done.

    Before that it rests half a second, then twice as long each time. A loss while the process worked on clouds is
    blamed on the clouds: it does not count, and there is no rest. Losses are forgotten once a process stayed up for
    ``pause_s``.
    """

    def __init__(self, failures: int, pause_s: float):
        self.num_failures = 0
        self._failures = failures
        self._pause_s = pause_s
        self._back_off = BackOff(FIRST_REST_S, MAX_REST_S)
        self._ready_since = math.inf

    @property
    def is_open(self) -> bool:
        """Whether so many were lost in a row that the engine rests for ``pause_s``."""
        return self.num_failures >= self._failures

    def ready(self) -> None:
        """The process can take work from now on."""
        self._ready_since = time.monotonic()

    def answered(self) -> None:
        """The process did a job."""
        self._forget()

    def lost(self, over_clouds: bool) -> float:
        """Seconds to rest after the process ended; ``over_clouds`` if it was working on clouds then."""
        if time.monotonic() - self._ready_since > self._pause_s:
            self._forget()
        self._ready_since = math.inf
        if over_clouds:
            return 0.0
        rest_s = self.failed()
        return self._pause_s if self.is_open else rest_s

    def failed(self) -> float:
        """Seconds to rest after the process found nothing that it can serve."""
        self.num_failures += 1
        return self._back_off.next_s()

    def _forget(self) -> None:
        self.num_failures = 0
        self._back_off.reset()
