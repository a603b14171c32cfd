"""The machine without torch: processor, memory, NVIDIA driver."""

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


def driver() -> dict[str, Any]:
    """NVIDIA's driver as the management library sees it: state ok, absent or broken, version, GPUs."""
    try:
        import pynvml
    except ImportError as error:
        return _no_driver("broken", f"nvidia-ml-py cannot be imported: {error}", "Run `pip install nvidia-ml-py`.")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        remedy = (
            "Nothing to do on a machine without an NVIDIA GPU; else install NVIDIA's driver, "
            "and in a container start it with `--gpus all`."
        )
        return _no_driver("absent", "libnvidia-ml.so was not found", remedy)
    except pynvml.NVMLError as error:
        remedy = (
            "Make `nvidia-smi` work first: load the kernel module, or reboot after a driver update, "
            "and in a container start it with `--gpus all`."
        )
        return _no_driver("broken", str(error), remedy)
    try:
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        return {
            "state": "ok",
            "version": _text(pynvml.nvmlSystemGetDriverVersion()),
            "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
            "gpus": [_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())],
        }
    except pynvml.NVMLError as error:
        return _no_driver("broken", str(error), "Make `nvidia-smi` work first; a GPU may have fallen off the bus.")
    finally:
        pynvml.nvmlShutdown()


def _no_driver(state: str, reason: str, remedy: str) -> dict[str, Any]:
    return {"state": state, "version": None, "cuda": None, "gpus": [], "reason": reason, "remedy": remedy}


def _gpu(pynvml: Any, index: int) -> dict[str, Any]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    try:
        total_bytes = pynvml.nvmlDeviceGetMemoryInfo(handle).total
    except pynvml.NVMLError_NotSupported:  # GPUs that share the memory of the machine
        total_bytes = None
    return {
        "name": _text(pynvml.nvmlDeviceGetName(handle)),
        "uuid": _text(pynvml.nvmlDeviceGetUUID(handle)),
        "memory_bytes": total_bytes,
    }


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


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
