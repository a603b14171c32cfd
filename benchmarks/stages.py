"""Where a network's time goes: what its operators take, on a GPU between events of its stream."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

import torch

# module and names in it that are timed, by what they are
OPERATORS: dict[str, list[tuple[str, list[str]]]] = {
    "serialization": [("app.networks.ptv3.geometry", ["serialize", "sort_codes", "patch_padding"])],
    "kernel maps": [
        ("app.networks.ptv3.geometry", ["submanifold_map"]),
        ("app.networks.ptv3.hierarchy", ["submanifold_map"]),
        ("app.networks.spunet", ["submanifold_map", "strided_map", "sort_voxels"]),
    ],
    "convolutions": [("app.networks.sparse", ["sparse_conv"]), ("app.networks.ptv3.block", ["sparse_conv"])],
    "linear layers": [("app.networks.batch_invariant_linear", ["sparse_conv"])],
    "attention": [("app.networks.ptv3.attention", ["patch_attention"])],
}
IN_PLAN = ("serialization", "kernel maps")


class Clock:
    """Milliseconds by name, from events on a GPU, from the processor's clock elsewhere."""

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"
        self._spans: dict[str, list[tuple[Any, Any]]] = defaultdict(list)

    def _mark(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Time what runs within."""
        start = self._mark()
        yield
        self._spans[name].append((start, self._mark()))

    def milliseconds(self) -> dict[str, float]:
        """Sums by name; waits for the device."""
        if self._on_gpu:
            torch.cuda.synchronize()
        return {
            name: sum(start.elapsed_time(end) if self._on_gpu else 1e3 * (end - start) for start, end in spans)
            for name, spans in self._spans.items()
        }


def stages(plan: Callable[[], Any], forward: Callable[[Any], Any], device: torch.device) -> dict[str, float]:
    """Milliseconds of one plan and one forward by what they do; "others" are what is in none of the operators."""
    clock = Clock(device)
    with ExitStack() as patches:
        for what, modules in OPERATORS.items():
            for module, names in modules:
                for name in names:
                    work = getattr(import_module(module), name)
                    patches.enter_context(patch(f"{module}.{name}", _timed(clock, what, work)))
        with clock.span("plan"):
            planned = plan()
        with clock.span("network"):
            forward(planned)
    found = clock.milliseconds()
    of_plan = sum(found.get(name, 0.0) for name in IN_PLAN)
    of_network = sum(found.get(name, 0.0) for name in OPERATORS if name not in IN_PLAN)
    return {
        **{name: found.get(name, 0.0) for name in OPERATORS},
        "others in plan": found["plan"] - of_plan,
        "others in network": found["network"] - of_network,
    }


def kernels(work: Callable[[], Any]) -> tuple[float, int, list[tuple[str, float]]]:
    """Milliseconds in kernels of the GPU, their number, and the names that take most with theirs."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    averages = [each for each in profiler.key_averages() if each.self_device_time_total > 0]
    most = sorted(averages, key=lambda each: -each.self_device_time_total)
    total = sum(each.self_device_time_total for each in averages) / 1e3
    return total, sum(each.count for each in averages), [(e.key, e.self_device_time_total / 1e3) for e in most]


def _timed(clock: Clock, what: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*arguments: Any, **keywords: Any) -> Any:
        with clock.span(what):
            return work(*arguments, **keywords)

    return timed
