"""The greatest memory of some processes together, and the greatest size of what they write."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.bench.processes import with_children
from benchmarks.looking import looking
from benchmarks.process_times import processor_s

STEP_S = 0.2
PROC = Path("/proc")


@dataclass
class Peaks:
    """Bytes, by the greatest of what was seen every ``STEP_S``.

    Attributes:
        memory: of a process and all that it started, where pages that several share count once; with memory files, also
            those that nobody maps, which are all that came to this machine meanwhile.
        disk: that the file system of ``folder`` has in use beyond what it had before.
        processor_s: seconds of processor by kind of process, where web is that of ``pid``.
        parts: of ``memory`` at its greatest: anonymous, of files, memory files.
    """

    folder: Path
    memory: int = 0
    disk: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    processor_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def watching(self, pid: int) -> Iterator[None]:
        """Look at the process ``pid`` while the block runs."""
        shared, used = _shared_bytes(), shutil.disk_usage(self.folder).used
        with looking(lambda: self._look(pid, shared, used), STEP_S):
            yield

    def _look(self, pid: int, shared: int, used: int) -> None:
        parts = {"anonymous": 0, "files": 0, "memory files": max(0, _shared_bytes() - shared)}
        for each in _with_descendants(pid):
            with suppress(OSError):  # it ended meanwhile
                lines = (PROC / str(each) / "smaps_rollup").read_text().splitlines()[1:]
                kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
                parts["anonymous"] += kib["Pss_Anon"] << 10
                parts["files"] += kib["Pss_File"] << 10
        if sum(parts.values()) > self.memory:
            self.memory, self.parts = sum(parts.values()), parts
        children = {each: kind for each, kind in with_children(pid).items() if each == pid or kind != "web"}
        for kind, seconds in processor_s(children).items():
            self.processor_s[kind] = max(seconds, self.processor_s.get(kind, 0.0))
        self.disk = max(self.disk, shutil.disk_usage(self.folder).used - used)


def _shared_bytes() -> int:
    lines = (PROC / "meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Shmem:"))


def _with_descendants(pid: int) -> Iterator[int]:
    yield pid
    for task in (PROC / str(pid) / "task").glob("*/children"):
        with suppress(OSError):  # the thread ended meanwhile
            for child in task.read_text().split():
                yield from _with_descendants(int(child))
