"""Whole networks at full size, geometry included, on clouds of sizes that nothing has seen before, and once more.

    make gpu-libs PYTHON=python3; PYTHONPATH=.:libs/sparseops:libs/pointops:libs/pointgroup_ops \\
        python3 benchmarks/networks_gpu.py [--sizes 10000 …] [--precisions fp16 …] [--output FOLDER] [--device cpu]

Prints tables in Markdown, the shortest last, and writes networks-gpu.md into ``--output``. Weights are drawn at random.
Times are of the processor's clock, from an idle device to an idle device, from voxels on the device to logits on it.
All precisions take turns, each with sizes of its own. In the tables

- "new" are clouds of a size that no run before had, not even a warm-up; "again" the same clouds a second time; "plan"
  their geometry alone, a third time;
- "busy" is the time in which the device had a kernel, a copy or a fill of a new cloud, by its own records; "downloads"
  are copies from it to the machine, "waits" those of the processor for it; medians of some clouds;
- "host" is a loop of Python, by which one sees how fast the processor was meanwhile;
- tf32 is what torch.backends.cuda.matmul.allow_tf32 makes of float32.

With ``--goldens`` there is a table of errors, too.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch
from device_records import DeviceRecords, by_operator, device_records
from fresh_sizes import SPREAD, FreshSizes
from networks import indoor
from scannet import NETWORKS
from table import Table
from timing import deciles, host_ms, machine
from torch import Tensor

SIZES = (10_000, 100_000, 400_000, 1_000_000)
PRECISIONS = ("fp16", "bf16", "upstream", "fp32", "tf32")
WARM_UP = 3
PROFILED = 3
SHOWN = 12
SHOWN_AT = 100_000
TIMES = ["network", "voxels", "precision", "clouds", "new, ms", "again, ms", "plan, ms", "host, ms"]
TIMES += ["busy, ms", "kernels", "copies", "downloads", "waits", "peak, GB"]
SHORT = ["network", "voxels", "precision", "new, ms", "busy, ms", "waits"]
ERRORS = ["case", *(f"{name} {what}" for name in PRECISIONS for what in ("max abs", "labels"))]


@dataclass
class Measured:
    """Of one network in one precision around one size."""

    new_ms: list[float] = field(default_factory=list)
    again_ms: list[float] = field(default_factory=list)
    plan_ms: list[float] = field(default_factory=list)
    records: list[DeviceRecords] = field(default_factory=list)
    peak_bytes: int = 0

    def of_device(self) -> list[str]:
        """Cells from "busy" on, of which there are none without a GPU."""
        if not self.records:
            return ["–"] * 6
        columns = zip(*map(astuple, self.records), strict=True)
        busy_ms, kernels, copies, downloads, waits = map(statistics.median, columns)
        counts = (f"{number:.0f}" for number in (kernels, copies, downloads, waits))
        return [f"{busy_ms:.2f}", *counts, f"{self.peak_bytes / 1e9:.2f}"]


class Rooms:
    """Clouds of any size up to a fifth above ``size``, each a room that ends at another wall."""

    def __init__(self, size: int, device: torch.device):
        whole = indoor(round((1 + SPREAD) * size) + 10_000)
        self._voxels = whole[whole[:, 1].argsort()].to(device)

    def cut(self, size: int) -> tuple[Tensor, Tensor]:
        """Voxels in random order, int64 (size, 4), and features, float32 (size, 6)."""
        device = self._voxels.device
        order = torch.randperm(size, device=device)
        return self._voxels[:size].index_select(0, order), torch.randn(size, 6, device=device)


class Subject:
    """A network in one precision at work."""

    def __init__(self, name: str, precision: str, device: torch.device):
        from app.networks.fold import fold
        from app.networks.precision import PRECISIONS as KINDS
        from app.networks.precision import in_precision
        from app.networks.registry import build

        torch.manual_seed(0)
        self.precision = precision
        self._device = device
        asked = KINDS["fp32" if precision == "tf32" else precision]
        self._dtype = asked.dtype
        plain = build(NETWORKS[name]).requires_grad_(False).to(device)
        self._network: Any = in_precision(fold(plain), asked)

    def measure(self, rooms: Rooms, size: int, into: Measured) -> None:
        """Times of one cloud, whose size is new."""
        run, plan = self._works(rooms, size)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        held_bytes = torch.cuda.memory_allocated() if self._device.type == "cuda" else 0
        into.new_ms.append(self._timed(run))
        into.again_ms.append(self._timed(run))
        into.plan_ms.append(self._timed(plan))
        if self._device.type == "cuda":
            into.peak_bytes = max(into.peak_bytes, torch.cuda.max_memory_allocated() - held_bytes)

    def record(self, rooms: Rooms, size: int, into: Measured) -> None:
        """What the device does for one cloud, whose size is new."""
        run, _ = self._works(rooms, size)
        with arithmetic(self.precision):
            into.records.append(device_records(run))

    def operators(self, rooms: Rooms, size: int) -> list[tuple[str, int, float]]:
        """As ``by_operator`` of one cloud."""
        run, _ = self._works(rooms, size)
        with arithmetic(self.precision):
            return by_operator(run, self._device.type == "cuda")

    def _works(self, rooms: Rooms, size: int) -> tuple[Callable[[], object], Callable[[], object]]:
        from app.networks.voxel_batch import VoxelBatch

        voxels, features = rooms.cut(size)
        features = features.to(self._dtype)
        network = self._network
        return (lambda: network(features, network.plan(VoxelBatch(voxels)))), (lambda: network.plan(VoxelBatch(voxels)))

    def _timed(self, work: Callable[[], object]) -> float:
        """Milliseconds, the device awaited before and after."""
        with arithmetic(self.precision):
            self._wait()
            start = time.perf_counter()
            work()
            self._wait()
            return 1e3 * (time.perf_counter() - start)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


@contextmanager
def arithmetic(precision: str) -> Iterator[str]:
    """The precision to ask the networks for, with torch's setting for float32 made to fit."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield "fp32" if precision == "tf32" else precision
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def measure(
    subjects: Sequence[Subject], rooms: Rooms, around: int, sizes: FreshSizes, count: int
) -> tuple[list[Measured], list[float]]:
    """Of each subject on ``count`` clouds, in turns whose order changes; and the host's loop in every round."""
    measured = [Measured() for _ in subjects]
    host: list[float] = []
    for number in range(WARM_UP + count):
        if number == WARM_UP:
            measured, host = [Measured() for _ in subjects], []
        size = sizes.around(around)
        pairs = list(zip(subjects, measured, strict=True))
        first = number % len(pairs)
        for subject, into in pairs[first:] + pairs[:first]:
            subject.measure(rooms, sizes.next_to(size), into)
        host.append(host_ms())
    return measured, host


def errors(folders: list[Path], precisions: list[str], device: str) -> Iterator[list[str]]:
    """Rows of the table of errors: what verify finds in every precision."""
    from app.verify import verify

    for folder in folders:
        found: dict[str, dict[str, tuple[str, str]]] = {}
        for precision in precisions:
            with arithmetic(precision) as asked:
                for result in verify(folder, (), device, asked):
                    if result.kind in ("network", "experiment") and result.max_abs_diff is not None:
                        cells = f"{result.max_abs_diff:.1e}", f"{result.argmax_agreement or 0:.2%}"
                        overflow = " (overflow)" if "overflow" in result.detail else ""
                        found.setdefault(result.name, {})[precision] = cells[0] + overflow, cells[1]
        for case, by_precision in found.items():
            yield [case, *(cell for name in PRECISIONS for cell in by_precision.get(name, ("–", "–")))]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="voxels; clouds have a fifth more or less")
    parser.add_argument("--count", type=int, default=20, help="clouds around each size")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--limit-s", type=float, default=540.0, help="begin nothing later")
    parser.add_argument("--goldens", type=Path, nargs="*", default=[], help="folders for the table of errors")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--output", type=Path, help="folder for networks-gpu.md")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    begin_s, skipped = time.monotonic(), []
    times, short, operators = [TIMES], [SHORT], []
    sizes = FreshSizes()
    shown_at = min(arguments.sizes, key=lambda size: abs(size - SHOWN_AT))
    with torch.inference_mode():
        for around in arguments.sizes:
            rooms = Rooms(around, device)
            for name in arguments.networks:
                if time.monotonic() - begin_s > arguments.limit_s:
                    skipped.append(f"{name} at {around:,}")
                    continue
                subjects = [Subject(name, precision, device) for precision in arguments.precisions]
                measured, host = measure(subjects, rooms, around, sizes, arguments.count)
                for subject, found in zip(subjects, measured, strict=True):
                    for _ in range(PROFILED if on_gpu else 0):
                        subject.record(rooms, sizes.around(around), found)
                    label = [name, f"{around:,}", subject.precision]
                    spans = [deciles(each) for each in (found.new_ms, found.again_ms, found.plan_ms, host)]
                    of_device = found.of_device()
                    times.append([*label, str(arguments.count), *spans, *of_device])
                    short.append([*label, f"{statistics.median(found.new_ms):.2f}", of_device[0], of_device[4]])
                    print(*times[-1], sep=" | ", flush=True)
                if around == shown_at:
                    spent = subjects[0].operators(rooms, sizes.around(around))
                    rows = [[called, f"{calls}", f"{ms:.2f}"] for called, calls, ms in spent[:SHOWN]]
                    title = f"Operators of {name} at {around:,} voxels, {subjects[0].precision}"
                    operators.append(Table(title, [["operator", "calls", "ms"], *rows]))
    where = f"{torch.cuda.get_device_name()} and {machine()}" if on_gpu else machine()
    notes = [f"{where}. Milliseconds: median (tenth–nine tenths). `benchmarks/networks_gpu.py` says what is what."]
    notes += [f"No time was left for {', '.join(skipped)}."] if skipped else []
    tables = [Table("Times", times, notes), *operators]
    if arguments.goldens:
        rows = list(errors(arguments.goldens, arguments.precisions, str(device)))
        tables.append(
            Table(
                "Errors", [ERRORS, *rows], ["Against the goldens, whose logits have a standard deviation of about 1.5."]
            )
        )
    text = "\n".join(["# Networks on clouds of sizes never seen before", "", *map(str, tables)])
    print(text, Table("In short", short), sep="\n")
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "networks-gpu.md").write_text(text)


if __name__ == "__main__":
    main()
