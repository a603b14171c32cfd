"""The machine without torch: processor and memory."""

import os
import platform
from pathlib import Path
from typing import Any

CPU_FLAGS_OF_INTEREST = (
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "sve",
    "i8mm",
    "bf16",
)


def cpu() -> dict[str, Any]:
    """Model, logical cores of the machine, cores that this process may use, instruction sets that matter here."""
    facts = _cpu_facts()
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    return {
        "model": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "flags": [flag for flag in CPU_FLAGS_OF_INTEREST if flag in flags],
    }


def memory() -> dict[str, Any]:
    """Bytes of memory: of the machine, and the limit that a container sets (None where there is none)."""
    limit = _read("/sys/fs/cgroup/memory.max") or _read("/sys/fs/cgroup/memory/memory.limit_in_bytes")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit_bytes = int(limit) if limit.isdigit() and int(limit) < total else None
    return {"total_bytes": total, "available_bytes": _available_bytes(), "limit_bytes": limit_bytes}


def _cpu_facts() -> dict[str, str]:
    """The first processor's block of /proc/cpuinfo."""
    block = _read("/proc/cpuinfo").partition("\n\n")[0]
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, or fewer where the container has a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _available_bytes() -> int | None:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
