"""What a GPU did for a piece of work, by the records of torch's profiler."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize")


@dataclass(frozen=True)
class DeviceRecords:
    """Of one piece of work.

    Attributes:
        busy_ms: in which a kernel, a copy or a fill ran.
        num_kernels: started.
        num_copies: and fills.
        num_downloads: copies from the device to the machine.
        num_waits: of the processor for the device.
    """

    busy_ms: float
    num_kernels: int
    num_copies: int
    num_downloads: int
    num_waits: int


def device_records(work: Callable[[], object]) -> DeviceRecords:
    """Runs ``work`` once and looks at the device alone, which slows it least."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    events = profiler.events() or []
    on_device = [event for event in events if event.device_type == DeviceType.CUDA]
    copies = [event.name for event in on_device if event.name.startswith(("Memcpy", "Memset"))]
    names = Counter(event.name for event in events)
    return DeviceRecords(
        union_ms([(event.time_range.start, event.time_range.end) for event in on_device]),
        len(on_device) - len(copies),
        len(copies),
        sum("DtoH" in name for name in copies),
        sum(names[name] for name in WAITS),
    )


def union_ms(spans_us: list[tuple[float, float]]) -> float:
    """Milliseconds that lie in any of the spans, which are in microseconds."""
    total_us, end_us = 0.0, float("-inf")
    for start, end in sorted(spans_us):
        total_us += max(0.0, end - max(start, end_us))
        end_us = max(end_us, end)
    return total_us / 1e3


def by_operator(work: Callable[[], object], on_gpu: bool) -> list[tuple[str, int, float]]:
    """Name, calls and milliseconds of each operator of torch that ``work`` calls, the most expensive first.

    Milliseconds are those of what it starts itself: of the device where there is one, else of the processor.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        work()
        if on_gpu:
            torch.cuda.synchronize()
    found: list[tuple[str, int, float]] = []
    for each in profiler.key_averages():
        spent_us: Any = each.self_device_time_total if on_gpu else each.self_cpu_time_total
        if "::" in each.key and each.device_type == DeviceType.CPU and spent_us > 0:
            found.append((each.key, each.count, spent_us / 1e3))
    return sorted(found, key=lambda entry: -entry[2])
