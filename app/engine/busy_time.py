"""How long an engine has been busy."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class BusyTime:
    """Seconds in which an engine had clouds, however many, and those that its device ran. For any number of threads.

    Attributes:
        total_s: seconds with clouds, until one came or went last.
        device_s: seconds of the device.
    """

    def __init__(self) -> None:
        self.total_s = 0.0
        self.device_s = 0.0
        self._lock = threading.Lock()
        self._num_working = 0
        self._counted_s = 0.0

    @contextmanager
    def working(self) -> Iterator[None]:
        """While a batch is under way."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def add_device_s(self, seconds: float) -> None:
        """The device ran for so long."""
        with self._lock:
            self.device_s += seconds

    def _count(self, change: int) -> None:
        with self._lock:
            now_s = time.monotonic()
            if self._num_working:
                self.total_s += now_s - self._counted_s
            self._num_working += change
            self._counted_s = now_s
