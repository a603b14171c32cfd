"""Which batches of an engine process run beside each other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Company:
    """Batches that run beside each other, until one of them has to be alone. For any number of threads.

    Attributes:
        max_batches: as many there may be.
    """

    def __init__(self, max_batches: int) -> None:
        self.max_batches = max_batches
        self._changed = threading.Condition()
        self._num_running = 0
        self._num_to_be_alone = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """While a batch runs; it begins once none is alone, or waits to be."""
        with self._changed:
            self._changed.wait_for(lambda: not self._num_to_be_alone)
            self._num_running += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within ``together``: once every other batch has ended, or waits here too, run without them."""
        with self._changed:
            self._num_to_be_alone += 1
        self._leave()
        with self._changed:
            self._changed.wait_for(lambda: not self._num_running)
            self._num_running += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_to_be_alone -= 1
                self._changed.notify_all()

    def _leave(self) -> None:
        with self._changed:
            self._num_running -= 1
            self._changed.notify_all()
