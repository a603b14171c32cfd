"""Seconds of processor that the processes of a service have taken."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

TICKS_A_S = os.sysconf("SC_CLK_TCK")


def processor_s(processes: Mapping[int, str]) -> dict[str, float]:
    """By kind of process, as ``app.bench.processes`` tells it by process id: web, readers, engines."""
    found = dict.fromkeys(processes.values(), 0.0)
    for pid, kind in processes.items():
        with suppress(OSError):  # it ended meanwhile
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            found[kind] += (int(fields[11]) + int(fields[12])) / TICKS_A_S
    return found
