"""The threads that answer requests."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Work = TypeVar("Work")

log = logging.getLogger(__name__)


class Pool(Generic[Work]):
    """``num_threads`` threads that do ``work`` on what is submitted.

    All are there from the beginning, so that none can lack later; raises RuntimeError if they may not be so many.
    """

    def __init__(self, name: str, num_threads: int, work: Callable[[Work], None]):
        self._num_threads = num_threads
        self._num_open = 0  # submitted, and not done
        self._lock = threading.Lock()
        self._work = work
        self._submitted: queue.SimpleQueue[Work] = queue.SimpleQueue()
        for number in range(num_threads):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    @property
    def num_waiting(self) -> int:
        """How much waits because every thread is busy."""
        return max(0, self._num_open - self._num_threads)

    def submit(self, item: Work) -> None:
        """Have ``item`` worked on."""
        self._count(1)
        self._submitted.put(item)

    def _run(self) -> None:
        while True:
            self._do(self._submitted.get())

    def _do(self, item: Work) -> None:
        try:
            self._work(item)
        except Exception:
            log.exception("a request met a bug")
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._num_open += change
