"""The budget of the machine's memory that requests share; bytes are reserved before they are taken."""

import sys
import threading
import time
from collections import Counter, deque
from types import TracebackType

from app.engine.counts import OTHERS_LOOK_S, Counts, Each, Shared
from app.engine.deadline import Deadline
from app.errors import Busy, TooLarge
from app.settings import MIB

PATIENCE_S = 60.0
RETRY_AFTER_S = 5.0
FILES_SHARE = 2  # one part in so many of the budget is for files as they came; the rest is for reading them
SMALL_SHARE = 64  # what takes less than one part in so many does not wait behind what takes more


class MemoryBudget:
    """At most ``total_bytes`` for bodies, clouds, what reads, segments and writes them, and answers; 0 for no limit.

    For any number of threads of the processes that share ``counts``. First come, first served, but small requests pass
    large ones.
    """

    def __init__(self, total_bytes: int = 0, counts: Counts | None = None):
        self._counts = counts or Counts()
        self._changed = threading.Condition()
        self._waiting: deque[Reservation] = deque()
        if total_bytes:
            self.total_bytes = total_bytes

    @property
    def total_bytes(self) -> int:
        """As the owner of the counts has set it."""
        return self._counts.shared(Shared.MEMORY_TOTAL)

    @total_bytes.setter
    def total_bytes(self, num_bytes: int) -> None:
        self._counts.share(Shared.MEMORY_TOTAL, num_bytes)

    @property
    def used_bytes(self) -> int:
        """Bytes that are reserved at the moment."""
        return self._counts.total(Each.MEMORY)

    @property
    def refusals(self) -> Counter[str]:
        """Requests that got none in time, under ``host_memory``."""
        return Counter(host_memory=self._counts.total(Each.REFUSED_MEMORY))

    @property
    def num_waiting(self) -> int:
        """Requests that wait for memory."""
        return len(self._waiting)

    def reservation(self) -> "Reservation":
        """A reservation of 0 bytes, to be enlarged and closed."""
        return Reservation(self)

    def busy(self, what: str, more_bytes: int) -> Busy:
        """The error for ``what`` ("The cloud"), which did not get ``more_bytes``; it is counted."""
        self._counts.add(Each.REFUSED_MEMORY, 1)
        return Busy(
            f"{what} takes about {-(-more_bytes // MIB):,} MiB of memory more, which other requests hold. "
            f"Try again in {RETRY_AFTER_S:.0f} s.",
            retry_after_s=RETRY_AFTER_S,
        )

    def _fits(self, num_bytes: int, share: int = 1) -> bool:
        return not self.total_bytes or self.used_bytes + num_bytes <= self.total_bytes // share

    def _may_take(self, held: "Reservation", more_bytes: int) -> bool:
        is_small = more_bytes * SMALL_SHARE <= self.total_bytes
        return (is_small or self._is_next(held)) and self._fits(more_bytes)

    def _is_next(self, held: "Reservation") -> bool:
        """Whether nobody waits who came earlier, here or in another process."""
        if self._waiting and self._waiting[0] is not held:
            return False
        return not any(0 < since < held.since_ns for since in self._counts.others(Each.MEMORY_SINCE))

    def _note_waiting(self) -> None:
        """Tell other processes since when somebody waits here."""
        self._counts.set(Each.MEMORY_SINCE, self._waiting[0].since_ns if self._waiting else 0)


class Reservation:
    """Bytes of a ``MemoryBudget`` that one owner holds until ``close``. For one thread at a time.

    Attributes:
        num_bytes: so many.
        since_ns: when it began to wait for more, of ``time.monotonic_ns``.
    """

    def __init__(self, budget: MemoryBudget):
        self._budget = budget
        self.num_bytes = 0
        self.since_ns = 0

    @property
    def total_bytes(self) -> int:
        """Size of the budget; a very large number if it has no limit."""
        return self._budget.total_bytes or sys.maxsize

    def add(self, num_bytes: int, share: int = FILES_SHARE) -> bool:
        """Reserve ``num_bytes`` more if at most one part in ``share`` of the budget is taken then; whether it did."""
        with self._budget._changed, self._budget._counts.locked():
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
            self.since_ns = time.monotonic_ns()
            budget._waiting.append(self)
            budget._note_waiting()
            try:
                self._wait(more_bytes, deadline, what)
            finally:
                budget._waiting.remove(self)
                budget._note_waiting()
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
        self._budget._counts.add(Each.MEMORY, num_bytes - self.num_bytes)
        self.num_bytes = num_bytes
        self._budget._changed.notify_all()

    def _wait(self, more_bytes: int, deadline: Deadline, what: str) -> None:
        """Take ``more_bytes`` once this may."""
        budget = self._budget
        until = min(deadline.at_s, time.monotonic() + PATIENCE_S)
        look_s = OTHERS_LOOK_S if budget._counts.num_processes > 1 else PATIENCE_S
        while not self._take(more_bytes):
            if time.monotonic() >= until:
                raise budget.busy(what, more_bytes)
            budget._changed.wait(min(look_s, deadline.poll_s, until - time.monotonic()))
            deadline.check_client()

    def _take(self, more_bytes: int) -> bool:
        """Reserve so many more if this may; whether it did."""
        with self._budget._counts.locked():
            may_take = self._budget._may_take(self, more_bytes)
            if may_take:
                self._set(self.num_bytes + more_bytes)
        return may_take
