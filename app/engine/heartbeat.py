"""Heartbeat of an engine process: memory shared with its parent, which also cancels jobs through it."""

import fcntl
import mmap
import os
import threading
import time
from dataclasses import dataclass

import numpy as np

BEAT_S = 0.5
MAX_LANES = 8
MAX_JOBS = 64  # of one batch

_BEAT, _USED, _TOTAL, _MODELS = range(4)
_LANES = 4
_LANE_NUMBERS = 1 + MAX_JOBS  # batches begun, then 1 for each job that is cancelled
_BYTES = 8 * (_LANES + MAX_LANES * _LANE_NUMBERS)


@dataclass(frozen=True)
class Memory:
    """Bytes of a device: all of it, what the engine process holds, and what of that are weights."""

    total: int = 0
    used: int = 0
    models: int = 0


class Lane:
    """What is shared of one lane, which has one batch under way at a time."""

    def __init__(self, numbers: np.ndarray):
        self._numbers = numbers

    @property
    def num_begun(self) -> int:
        """Number of batches that the engine has begun."""
        return int(self._numbers[0])

    def count_begun(self) -> None:
        """Count one more batch begun."""
        self._numbers[0] += 1

    def clear_cancelled(self) -> None:
        """Begin a new batch, in which no job is cancelled."""
        self._numbers[1:] = 0

    def cancel(self, index: int) -> None:
        """Cancel the job at ``index`` of the batch."""
        self._numbers[1 + index] = 1

    def is_cancelled(self, index: int) -> bool:
        """Whether the job at ``index`` of the batch is cancelled."""
        return bool(self._numbers[1 + index])


class Heartbeat:
    """The shared memory, for either side; each number is written by one side only, in one store.

    Attributes:
        lanes: as many as there may be.
    """

    def __init__(self, fd: int):
        """``fd`` is of the memory file and stays the caller's."""
        self._numbers = np.frombuffer(mmap.mmap(fd, _BYTES), np.float64)
        self.lanes = [Lane(numbers) for numbers in self._numbers[_LANES:].reshape(MAX_LANES, _LANE_NUMBERS)]

    @classmethod
    def create(cls) -> tuple["Heartbeat", int]:
        """New memory and the descriptor of its file, the caller's to close."""
        fd = os.memfd_create("pointserve-heartbeat", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, _BYTES)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)  # it vanishes under neither side
        return cls(fd), fd

    def beat(self) -> None:
        """Give a sign of life."""
        self._numbers[_BEAT] = time.monotonic()

    def keep_beating(self) -> None:
        """Beat from a thread of its own until the process ends."""

        def run() -> None:
            while True:
                self.beat()
                time.sleep(BEAT_S)

        threading.Thread(target=run, name="heartbeat", daemon=True).start()

    @property
    def silence_s(self) -> float:
        """Seconds since the last beat; 0 before the first."""
        last = self._numbers[_BEAT]
        return float(time.monotonic() - last) if last else 0.0

    @property
    def memory(self) -> Memory:
        """Memory of the device, as the engine last reported it."""
        return Memory(*(int(self._numbers[place]) for place in (_TOTAL, _USED, _MODELS)))

    @memory.setter
    def memory(self, memory: Memory) -> None:
        self._numbers[[_TOTAL, _USED, _MODELS]] = memory.total, memory.used, memory.models
