"""The budget of the machine's memory that requests share; bytes are reserved before they are taken."""

import sys
import threading
import time
from collections import Counter, deque
from types import TracebackType

from app.engine.deadline import Deadline
from app.errors import Busy, TooLarge
from app.settings import MIB

PATIENCE_S = 60.0
RETRY_AFTER_S = 5.0
FILES_SHARE = 2  # one part in so many of the budget is for files as they came; the rest is for reading them
SMALL_SHARE = 64  # what takes less than one part in so many does not wait behind what takes more


class MemoryBudget:
    """At most ``total_bytes`` for bodies, clouds, what reads, segments and writes them, and answers; 0 for no limit.

    For any number of threads. First come, first served, but small requests pass large ones. ``refusals`` counts the
    requests that got none in time, under ``host_memory``.
    """

    def __init__(self, total_bytes: int = 0):
        self.total_bytes = total_bytes
        self.refusals: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._waiting: deque[Reservation] = deque()
        self._used_bytes = 0

    @property
    def used_bytes(self) -> int:
        """Bytes that are reserved at the moment."""
        return self._used_bytes

    @property
    def num_waiting(self) -> int:
        """Requests that wait for memory."""
        return len(self._waiting)

    def reservation(self) -> "Reservation":
        """A reservation of 0 bytes, to be enlarged and closed."""
        return Reservation(self)

    def busy(self, what: str, more_bytes: int) -> Busy:
        """The error for ``what`` ("The cloud"), which did not get ``more_bytes``; it is counted."""
        self.refusals["host_memory"] += 1
        return Busy(
            f"{what} takes about {-(-more_bytes // MIB):,} MiB of memory more, which other requests hold. "
            f"Try again in {RETRY_AFTER_S:.0f} s.",
            retry_after_s=RETRY_AFTER_S,
        )

    def _fits(self, num_bytes: int, share: int = 1) -> bool:
        return not self.total_bytes or self._used_bytes + num_bytes <= self.total_bytes // share

    def _may_take(self, held: "Reservation", more_bytes: int) -> bool:
        is_small = more_bytes * SMALL_SHARE <= self.total_bytes
        is_next = not self._waiting or self._waiting[0] is held
        return (is_next or is_small) and self._fits(more_bytes)


class Reservation:
    """Bytes of a ``MemoryBudget`` that one owner holds until ``close``. For one thread at a time."""

    def __init__(self, budget: MemoryBudget):
        self._budget = budget
        self.num_bytes = 0

    @property
    def total_bytes(self) -> int:
        """Size of the budget; a very large number if it has no limit."""
        return self._budget.total_bytes or sys.maxsize

    def add(self, num_bytes: int, share: int = FILES_SHARE) -> bool:
        """Reserve ``num_bytes`` more if at most one part in ``share`` of the budget is taken then; whether it did."""
        with self._budget._changed:
            if not self._budget._fits(num_bytes, share):
                return False
            self._set(self.num_bytes + num_bytes)
        return True

    def resize(self, num_bytes: int, deadline: Deadline, what: str) -> None:
        """Reserve ``num_bytes`` in all: wait for more, or give back at once.

        Raises TooLarge, saying that ``what`` ("The cloud") takes so much, if there never are so many, Busy after
        ``PATIENCE_S`` or when the time for the request is over, ClientGone.
        """
        budget = self._budget
        with budget._changed:
            more_bytes = num_bytes - self.num_bytes
            if more_bytes <= 0:
                self._set(num_bytes)
                return
            if num_bytes > budget.total_bytes > 0:
                raise TooLarge(
                    f"{what} takes about {num_bytes // MIB:,} MiB of memory; this server has "
                    f"{budget.total_bytes // MIB:,} MiB for requests (POINTSERVE_MEMORY_MIB). Cut the cloud into "
                    "tiles, thin it out, or leave columns and fields out."
                )
            budget._waiting.append(self)
            try:
                self._wait(more_bytes, deadline, what)
                self._set(num_bytes)
            finally:
                budget._waiting.remove(self)
                budget._changed.notify_all()

    def close(self) -> None:
        """Give everything back; may be called twice."""
        with self._budget._changed:
            self._set(0)

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def moved(self, num_bytes: int | None = None) -> "Reservation":
        """A reservation of ``num_bytes`` of these, by default all, for another owner; this one has so many less."""
        other = Reservation(self._budget)
        other.num_bytes = self.num_bytes if num_bytes is None else num_bytes
        self.num_bytes -= other.num_bytes
        return other

    def _set(self, num_bytes: int) -> None:
        self._budget._used_bytes += num_bytes - self.num_bytes
        self.num_bytes = num_bytes
        self._budget._changed.notify_all()

    def _wait(self, more_bytes: int, deadline: Deadline, what: str) -> None:
        budget = self._budget
        until = min(deadline.at_s, time.monotonic() + PATIENCE_S)
        while not budget._may_take(self, more_bytes):
            if time.monotonic() >= until:
                raise budget.busy(what, more_bytes)
            budget._changed.wait(min(deadline.poll_s, until - time.monotonic()))
            deadline.check_client()
