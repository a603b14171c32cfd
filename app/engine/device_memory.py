"""Memory of the device on which an engine process computes."""

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from app.diagnostics.machine import memory_limit_bytes, resident_bytes
from app.engine.heartbeat import Memory
from app.pipeline.out_of_memory import is_out_of_memory


def memory(device: str, models: int) -> Memory:
    """What the device holds now; ``models`` are the bytes of weights. On the CPU it is the memory of this process."""
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        return Memory(total, total - free, models)
    return Memory(memory_limit_bytes(), resident_bytes(), models)


def release(device: str) -> None:
    """Give memory that nothing refers to back to the device or to the system."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    else:
        ctypes.CDLL(None).malloc_trim(0)


def peak_bytes(device: str, work: Callable[[], object]) -> int:
    """What ``work`` takes at its highest beyond what was taken before; on the CPU an estimate."""
    release(device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return max(0, torch.cuda.max_memory_allocated() - before)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the highest is from now on
    before = resident_bytes()
    work()
    return max(0, _highest_resident_bytes() - before)


def is_device_lost(error: Exception) -> bool:
    """Whether CUDA reported what leaves its context broken for good."""
    accelerator_error = getattr(torch, "AcceleratorError", None)  # torch 2.8 and newer
    if accelerator_error and isinstance(error, accelerator_error):
        return True
    return isinstance(error, RuntimeError) and not is_out_of_memory(error) and "CUDA error" in str(error)


def _highest_resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
