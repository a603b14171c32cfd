"""Deadline and cancellation of one request."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from app.errors import ClientGone, DeadlineExceeded

STOPPING = "The server is stopping."
LATE = "The cloud was not segmented in the time for the request."
LOOK_S = 0.2  # how often somebody who waits looks whether the client is gone


def _stays() -> bool:
    return False


@dataclass(frozen=True)
class Deadline:
    """When an answer is due, in seconds of ``time.monotonic``; ``is_gone`` says whether the client has hung up."""

    at_s: float
    is_gone: Callable[[], bool] = _stays

    @classmethod
    def after(cls, seconds: float, is_gone: Callable[[], bool] = _stays) -> "Deadline":
        """So many seconds from now."""
        return cls(time.monotonic() + seconds, is_gone)

    @property
    def left_s(self) -> float:
        """Seconds to the deadline, 0 once it is over."""
        return max(0.0, self.at_s - time.monotonic())

    @property
    def poll_s(self) -> float:
        """How many seconds to wait before the next ``check``."""
        return min(LOOK_S, self.left_s)

    def check(self, late: str) -> None:
        """Raise DeadlineExceeded with the sentence ``late``, or ClientGone, if nobody can use the answer any more."""
        if time.monotonic() >= self.at_s:
            raise DeadlineExceeded(late)
        self.check_client()

    def check_client(self) -> None:
        """Raise ClientGone if nobody waits any more."""
        if self.is_gone():
            raise ClientGone("The client hung up before it was answered.")
