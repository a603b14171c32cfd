"""Seconds of processor that the processes of a service have taken."""

import os
from pathlib import Path

from app.bench.processes import family

TICKS_A_S = os.sysconf("SC_CLK_TCK")


def processor_s(engine_pid: int) -> dict[str, float]:
    """By kind of process: web, readers, engines. The service is the one that has the engine ``engine_pid``."""
    found: dict[str, float] = {}
    for pid, kind in family(engine_pid).items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        found[kind] = found.get(kind, 0.0) + (int(fields[11]) + int(fields[12])) / TICKS_A_S
    return found
