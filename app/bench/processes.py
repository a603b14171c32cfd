"""The processes of a service that runs on this machine, and the memory that they hold."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
KINDS = {
    "app.engine.process": "engines",
    "app.engine.reader_process": "readers",
    "app.http.front_process": "fronts",
}


def family(engine_pid: int) -> dict[int, str]:
    """The kind (web, fronts, readers, engines) of each process of the service that has the engine ``engine_pid``.

    Empty if no such engine runs here: the service is on another machine or in a container of its own.
    """
    if _kind(engine_pid) != "engines":
        return {}
    worker = _parent(engine_pid)
    return {_parent(worker): "web"} | with_children(worker)


def with_children(pid: int) -> dict[int, str]:
    """The kind of a process that has engines and readers, which is web, and of those; fronts have readers, too."""
    found = {pid: "web"}
    for child in _children(pid):
        found[child] = _kind(child)
        found |= {reader: _kind(reader) for reader in _children(child)}
    return found


def memory_bytes(processes: dict[int, str]) -> dict[str, int]:
    """Bytes by kind of process; pages that several of them share count once among them."""
    found = dict.fromkeys(processes.values(), 0)
    for pid, kind in processes.items():
        with suppress(OSError, StopIteration):  # gone meanwhile
            found[kind] += _proportional_bytes(pid)
    return found


def num_descriptors(processes: dict[int, str]) -> int:
    """Open files of all of them."""
    count = 0
    for pid in processes:
        with suppress(OSError):
            count += len(list((PROC / str(pid) / "fd").iterdir()))
    return count


def _proportional_bytes(pid: int) -> int:
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _kind(pid: int) -> str:
    try:
        arguments = (PROC / str(pid) / "cmdline").read_text().split("\0")
    except OSError:
        return ""
    return next((kind for module, kind in KINDS.items() if module in arguments), "web")


def _parent(pid: int) -> int:
    return int((PROC / str(pid) / "stat").read_text().rpartition(") ")[2].split()[1])


def _children(pid: int) -> Iterator[int]:
    for task in (PROC / str(pid) / "task").glob("*/children"):
        with suppress(OSError):  # the thread ended meanwhile
            yield from map(int, task.read_text().split())
