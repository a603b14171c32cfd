"""One operator at one size on a GPU, how it is checked and timed."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch

FLUSH_BYTES = 1 << 29  # several times any level 2 cache, and long enough to write that the next calls queue up behind
WARM_UP, REPEATS = 10, 60


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        name: operator, type and size.
        calls: the same work on different inputs, taken by turns.
        error: runs the work on a fresh input and gives its error, of the norm; raises AssertionError where it must be
            exact and is not.
        tolerance: of ``error``.
        bytes_least: every input read once and every output written once.
        flop: operations that no implementation can leave out.
        rate: what bounds ``flop``, a key of ``Ceilings.flops``.
        upstream_ms: what users have today, on an H200; None where unknown.
        wanted_ms: the aim on an H200.
    """

    name: str
    calls: list[Callable[[], object]]
    error: Callable[[], float]
    tolerance: float
    bytes_least: float
    flop: float = 0.0
    rate: str = "tensor"
    upstream_ms: float | None = None
    wanted_ms: float | None = None


@dataclass(frozen=True)
class Ceilings:
    """Measured on this device: bytes a second of a copy, reads and writes counted, and FLOP a second by unit."""

    bytes: float
    flops: dict[str, float]

    def floor_ms(self, case: Case) -> tuple[float, str]:
        """The least time for a case, and what bounds it."""
        moving, computing = case.bytes_least / self.bytes, case.flop / self.flops[case.rate]
        return 1e3 * max(moving, computing), "bytes" if moving >= computing else "operations"


def device_ms(calls: list[Callable[[], object]], repeats: int = REPEATS, flush: bool = True) -> list[float]:
    """Milliseconds between events around each call, the cache overwritten before, after a warm-up."""
    junk = torch.empty(FLUSH_BYTES // 4, device="cuda")
    spans = []
    for index in range(WARM_UP + repeats):
        if flush:
            junk.fill_(index)
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        calls[index % len(calls)]()
        end.record()
        spans.append((start, end))
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in spans[WARM_UP:]]


def ceilings() -> Ceilings:
    """A large copy, and large matrix products on random data."""
    source, target = (torch.empty(1 << 30, dtype=torch.uint8, device="cuda") for _ in range(2))
    copy_s = statistics.median(device_ms([lambda: target.copy_(source)], 20)) / 1e3
    flops = {}
    size = 8192
    for unit, dtype in (("tensor", torch.float16), ("float", torch.float32)):
        a, b = (torch.randn(size, size, device="cuda").to(dtype) for _ in range(2))
        product_s = statistics.median(device_ms([lambda a=a, b=b: a @ b], 20)) / 1e3
        flops[unit] = 2 * size**3 / product_s
    return Ceilings(2 * source.numel() / copy_s, flops)
