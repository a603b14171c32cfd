"""NVIDIA's driver and GPUs, as the driver's management library (NVML) sees them."""

import re
from pathlib import Path
from typing import Any

from . import faults
from .attempt import Entry

LOADED = Path("/proc/driver/nvidia/version")
OLDEST = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}  # of any minor version of this CUDA


def driver() -> Entry:
    """State ok, absent or broken, version, newest CUDA that it serves, GPUs; reason and remedy if it is not ok."""
    try:
        import pynvml
    except ImportError as error:
        return _none("broken", f"nvidia-ml-py cannot be imported: {error}", "Run `pip install nvidia-ml-py`.")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        if LOADED.exists():
            return _none("broken", "the host's driver is not in this container", "Start it with `--gpus all`.")
        remedy = (
            "Nothing to do on a machine without an NVIDIA GPU; else install NVIDIA's driver, "
            "and in a container start it with `--gpus all`."
        )
        return _none("absent", "libnvidia-ml.so was not found", remedy)
    except pynvml.NVMLError as error:
        return broken(f"Failed to initialize NVML: {error}")
    try:
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        return {
            "state": "ok",
            "version": _text(pynvml.nvmlSystemGetDriverVersion()),
            "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
            "gpus": [_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())],
        }
    except pynvml.NVMLError as error:
        return _none("broken", str(error), "Make `nvidia-smi` work first; a GPU may have fallen off the bus.")
    finally:
        pynvml.nvmlShutdown()


def broken(reason: str) -> Entry:
    """The entry of a driver that does not start: what took it away, as far as ``reason`` tells."""
    fault = faults.recognise(reason)
    if fault:
        return _none("broken", reason, fault.remedy) | {"fault": fault.name}
    return _none(
        "broken",
        reason,
        "Make `nvidia-smi` work first: load the kernel module, and in a container start it with `--gpus all`.",
    )


def age(version: str, cuda: str) -> Entry:
    """State, reason, fault and remedy of a driver too old for ``cuda``, as 12.4; empty for one that is not."""
    oldest = OLDEST.get(int(cuda.partition(".")[0]), "0")
    if _numbers(version) >= _numbers(oldest):
        return {}
    reason = f"CUDA runtime mismatch: driver {version} is too old for CUDA {cuda}, which needs {oldest} or newer"
    return {"state": "broken", "reason": reason, "fault": faults.DRIVER.name, "remedy": faults.DRIVER.remedy}


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _none(state: str, reason: str, remedy: str) -> Entry:
    return {"state": state, "version": None, "cuda": None, "gpus": [], "reason": reason, "remedy": remedy}


def _gpu(pynvml: Any, index: int) -> Entry:
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
