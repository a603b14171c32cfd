"""A memory cgroup for one service that is measured."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
END_S = 10.0  # for processes that leave it


@contextmanager
def limited(memory_mib: int) -> Iterator[Callable[[int], object]]:
    """A function that puts a process, by its id, and all that it starts under a limit of memory; 0 for none.

    For cgroups of version 1 and 2. Raises OSError where this takes more rights.
    """
    if not memory_mib:
        yield lambda pid: None
        return
    is_first = (ROOT / "memory").is_dir()
    folder = (ROOT / "memory" if is_first else ROOT) / f"pointserve-{os.getpid()}"
    folder.mkdir()
    try:
        limit = folder / ("memory.limit_in_bytes" if is_first else "memory.max")
        limit.write_text(str(memory_mib << 20))
        yield lambda pid: (folder / "cgroup.procs").write_text(str(pid))
    finally:
        until = time.monotonic() + END_S
        while (folder / "cgroup.procs").read_text() and time.monotonic() < until:
            time.sleep(0.1)
        folder.rmdir()
