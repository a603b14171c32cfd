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
        self._work = work
        self._submitted: queue.SimpleQueue[Work] = queue.SimpleQueue()
        for number in range(num_threads):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    @property
    def num_waiting(self) -> int:
        """How much waits for a thread."""
        return self._submitted.qsize()

    def submit(self, item: Work) -> None:
        """Have ``item`` worked on."""
        self._submitted.put(item)

    def _run(self) -> None:
        while True:
            try:
                self._work(self._submitted.get())
            except Exception:
                log.exception("a request met a bug")
