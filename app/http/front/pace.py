"""The lowest transfer rate and the longest pause of a client."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

CROWDED_S = 1.0  # of waiting, before a client that is slow gives way
SILENT_S = 5.0  # before any does


@dataclass(frozen=True)
class Patience:
    """Seconds without a byte, and bytes a second on average once so many seconds have been waited for."""

    stall_s: float
    rate_bytes_s: float


class Transfer:
    """One direction of one request: what has moved, and for how long the client was waited for."""

    def __init__(self, patience: Patience):
        self.patience = patience
        self.gives_way = False
        self._num_bytes = 0
        self._waited_s = 0.0
        self._silent_s = 0.0

    def reached(self, num_bytes: int) -> None:
        """So many bytes have moved, in all."""
        if num_bytes > self._num_bytes:
            self._num_bytes, self._silent_s = num_bytes, 0.0

    def waited(self, seconds: float) -> None:
        """So much longer without a byte."""
        self._waited_s += seconds
        self._silent_s += seconds

    def is_stalled(self, after_s: float) -> bool:
        """Whether nothing has moved for so long."""
        return self._silent_s >= after_s

    def is_slow(self, after_s: float) -> bool:
        """Whether the average, of what was waited for beyond ``after_s``, is below the rate."""
        return self._num_bytes < (self._waited_s - after_s) * self.patience.rate_bytes_s


class Crowd:
    """The transfers that wait for their clients at the moment. For any number of threads."""

    def __init__(self) -> None:
        self._waiting: set[Transfer] = set()
        self._lock = threading.Lock()

    @contextmanager
    def waiting(self, transfer: Transfer) -> Iterator[None]:
        """While ``transfer`` waits for its client, whose time it counts."""
        begin_s = time.monotonic()
        with self._lock:
            self._waiting.add(transfer)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.discard(transfer)
            transfer.waited(time.monotonic() - begin_s)

    def make_room(self) -> bool:
        """Have those give way that are slow after ``CROWDED_S`` or stalled for ``SILENT_S``; whether there are any."""
        with self._lock:
            slow = [it for it in self._waiting if it.is_slow(CROWDED_S) or it.is_stalled(SILENT_S)]
        for transfer in slow:
            transfer.gives_way = True
        return bool(slow)
