"""The share of a time in which each GPU, each core and the disk of this machine are busy."""

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.looking import looking

STEP_S = 0.25
VIRTUAL = ("loop", "ram", "zram")  # block devices that are none


@dataclass(frozen=True)
class Moment:
    """What the machine says at ``time_s`` (``time.monotonic``): percents of GPUs, and of cores (busy, all) ticks, of
    disks (milliseconds busy, sectors of 512 bytes)."""

    time_s: float
    gpus: list[int]
    cores: list[tuple[int, int]]
    disks: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Shares:
    """From 0 to 1, of each GPU and each core, and of the busiest disk; bytes a second of all disks."""

    gpus: list[float]
    cores: list[float]
    disk: float
    disk_bytes_s: float

    @property
    def cells(self) -> list[str]:
        """Of a table under ``CELLS``."""
        gpus = " ".join(f"{share:.0%}" for share in self.gpus) or "–"
        if not any(self.cores):
            return [gpus, "–", "–"]
        cores = f"{statistics.mean(self.cores):.0%} ({min(self.cores):.0%}–{max(self.cores):.0%})"
        return [gpus, cores, f"{self.disk:.0%}, {self.disk_bytes_s / 1e6:.0f} MB/s"]


CELLS = ["GPUs busy", "cores busy", "disk busy"]


@dataclass
class Busy:
    """What the machine said, step by step."""

    num_gpus: int
    moments: list[Moment] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at the machine while the block runs."""
        handles = _handles(self.num_gpus)
        with looking(lambda: self._look(handles), STEP_S):
            yield

    def _look(self, handles: list[object]) -> None:
        self.moments.append(Moment(time.monotonic(), _percents(handles), _cores(), _disks()))

    def shares(self, begin_s: float, end_s: float) -> Shares:
        """Of the time between two moments of ``time.monotonic``, or of all if it saw too little of that."""
        inside = [moment for moment in self.moments if begin_s <= moment.time_s <= end_s]
        inside = inside if len(inside) > 1 else self.moments
        first, last = inside[0], inside[-1]
        gpus = [statistics.mean(percents) / 100 for percents in zip(*(moment.gpus for moment in inside), strict=True)]
        cores = [
            (busy - busy_was) / max(1, whole - was)
            for (busy, whole), (busy_was, was) in zip(last.cores, first.cores, strict=True)
        ]
        elapsed_s = max(last.time_s - first.time_s, 1e-9)
        disks = [(last.disks[name], was) for name, was in first.disks.items() if name in last.disks]
        disk = max((now[0] - was[0] for now, was in disks), default=0) / 1e3 / elapsed_s
        sectors = sum(now[1] - was[1] for now, was in disks)
        return Shares(gpus, cores, min(1.0, disk), 512 * sectors / elapsed_s)


def _handles(num_gpus: int) -> list[object]:
    import pynvml

    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(num_gpus)]
    except pynvml.NVMLError:
        return []


def _percents(handles: list[object]) -> list[int]:
    import pynvml

    return [pynvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in handles]


def _cores() -> list[tuple[int, int]]:
    """(busy, all) ticks of each core that this process may use."""
    wanted = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    ticks = [[int(number) for number in line[1:9]] for line in lines if line and line[0] in wanted]
    return [(sum(each) - each[3] - each[4], sum(each)) for each in ticks]  # but idle and waiting for the disk


def _disks() -> dict[str, tuple[int, int]]:
    """(milliseconds busy, sectors read and written) of each disk."""
    found = {}
    for folder in Path("/sys/block").glob("*"):
        if not folder.name.startswith(VIRTUAL):
            fields = [int(number) for number in (folder / "stat").read_text().split()]
            found[folder.name] = (fields[9], fields[2] + fields[6])
    return found
