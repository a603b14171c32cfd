"""Processor and memory of the machine or container, without torch."""

import os
import platform
from collections.abc import Iterator
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
    """Bytes of memory: of the machine, and the limit that a container sets (None if there is none)."""
    total, limit = _total_bytes(), memory_limit_bytes()
    limit_bytes = limit if limit < total else None
    return {"total_bytes": total, "available_bytes": available_bytes(), "limit_bytes": limit_bytes}


def memory_limit_bytes() -> int:
    """Memory that this process and its children may take: that of the machine, or less by a control group, be it its
    own or one above."""
    mounts = [line.split() for line in _read("/proc/self/mountinfo").splitlines()]
    limits = [_total_bytes()]
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for mount in mounts:
            kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
            is_version_1 = kind == "cgroup" and "memory" in options and "memory" in controllers.split(",")
            if is_version_1 or (kind == "cgroup2" and not controllers):
                names = ("memory.limit_in_bytes",) if is_version_1 else ("memory.max", "memory.high")
                limits += _limits(Path(mount[4]), path.removeprefix(mount[3].rstrip("/")), names)
    return min(limits)


def _limits(top: Path, path: str, names: tuple[str, ...]) -> Iterator[int]:
    """Numbers in the files ``names`` of the group ``path`` under ``top`` and of those above it."""
    group = top / path.strip("/")
    for folder in (group, *group.parents):
        for name in names:
            if (text := _read(str(folder / name))).isdigit():  # "max" where there is no limit
                yield int(text)
        if folder == top:
            return


def _total_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cpu_facts() -> dict[str, str]:
    """The first processor's block of /proc/cpuinfo."""
    block = _read("/proc/cpuinfo").partition("\n\n")[0]
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, or fewer if the container has a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def available_bytes() -> int | None:
    """Memory of the machine that nobody uses, or that can be taken back at once; None if it is not known."""
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def resident_bytes(pid: int | str = "self") -> int:
    """Memory that the process ``pid`` holds now; 0 once it has ended."""
    numbers = _read(f"/proc/{pid}/statm").split()
    return int(numbers[1]) * os.sysconf("SC_PAGE_SIZE") if numbers else 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
