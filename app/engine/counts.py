"""What the web processes of one service count together: requests, memory, connections."""

import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

OTHERS_LOOK_S = 0.05  # between looks of who waits for what another process may give back: nobody tells it
NUMBER_BYTES = 8
HEAD = 8  # numbers before the first process's


class Shared(IntEnum):
    """A number of the service, which its owner writes."""

    MEMORY_TOTAL = 0  # bytes that requests may reserve
    CLOSED = 1  # whether no request is admitted any more
    WAIT_S = 2  # how long the clouds that are here will take
    VIEW = 3  # how often models and states of engines have changed


class Each(IntEnum):
    """A number of each process, which that process writes."""

    REQUESTS = 0  # admitted and not closed
    MEMORY = 1  # bytes that are reserved
    MEMORY_SINCE = 2  # when the first of those that wait for memory came, in ns of ``time.monotonic_ns``; 0 for none
    COMING = 3  # clouds that are being read and will be submitted soon
    LEFT = 4  # connections that were handed over to it and that it no longer has
    ALIVE = 5  # when it last gave a sign of life, in ns
    REFUSED = 6  # requests refused because there were too many
    REFUSED_MEMORY = 7  # and for lack of memory
    READERS_LOST = 8  # reader processes that had to be replaced


KEPT = (Each.REFUSED, Each.REFUSED_MEMORY, Each.READERS_LOST)  # of a process that has ended, too


class Counts:
    """Numbers of ``num_processes`` web processes, of which this is number ``place``; the owner of the queue is 0.

    If there are several, they lie in a memory file that all have, so reading and writing them takes no message. What a
    process that died had is taken off by ``clear``. For any number of threads.
    """

    def __init__(self, fd: int = -1, num_processes: int = 1, place: int = 0):
        """``fd`` is a memory file of ``create``, and stays open until the process ends: to close any descriptor of it
        would give up ``locked``."""
        self.fd = fd
        self.num_processes = num_processes
        self.place = place
        size = num_bytes(num_processes)
        self._numbers = memoryview(bytearray(size) if fd < 0 else mmap.mmap(fd, size)).cast("q")
        self._lock = threading.RLock()
        self._depth = 0

    @classmethod
    def create(cls, num_processes: int) -> "Counts":
        """All of them 0."""
        if num_processes == 1:
            return cls()
        fd = os.memfd_create("pointserve-counts", os.MFD_CLOEXEC)
        os.ftruncate(fd, num_bytes(num_processes))
        return cls(fd, num_processes)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else, in this process or another, is in here. The lock of one that dies is given back."""
        with self._lock:
            self._depth += 1
            try:
                if self.fd >= 0 and self._depth == 1:
                    fcntl.lockf(self.fd, fcntl.LOCK_EX)
                yield
            finally:
                self._depth -= 1
                if self.fd >= 0 and not self._depth:
                    fcntl.lockf(self.fd, fcntl.LOCK_UN)

    def shared(self, what: Shared) -> int:
        """A number of the service."""
        return self._numbers[what]

    def share(self, what: Shared, number: int) -> None:
        """Set a number of the service."""
        self._numbers[what] = number

    def note_view(self) -> None:
        """Models or states of engines have changed."""
        with self._lock:
            self._numbers[Shared.VIEW] += 1

    def of(self, place: int, what: Each) -> int:
        """A number of the process ``place``."""
        return self._numbers[HEAD + place * len(Each) + what]

    def total(self, what: Each) -> int:
        """The sum over all processes."""
        return sum(self._numbers[HEAD + what :: len(Each)])

    def others(self, what: Each) -> list[int]:
        """Those of all other processes."""
        return [self.of(place, what) for place in range(self.num_processes) if place != self.place]

    def set(self, what: Each, number: int) -> None:
        """Set a number of this process."""
        self._numbers[HEAD + self.place * len(Each) + what] = number

    def add(self, what: Each, change: int) -> None:
        """Add to a number of this process."""
        with self._lock:
            self._numbers[HEAD + self.place * len(Each) + what] += change

    def clear(self, place: int) -> None:
        """Take off what the process ``place``, which has ended, had; what it had counted stays."""
        with self.locked():
            for what in Each:
                if what in KEPT:
                    self.add(what, self.of(place, what))
                self._numbers[HEAD + place * len(Each) + what] = 0


def num_bytes(num_processes: int) -> int:
    """Of the file for so many."""
    return NUMBER_BYTES * (HEAD + num_processes * len(Each))
