"""Whole networks at full size on a GPU, geometry included, in every precision; where their time goes; their errors.

    make gpu-libs PYTHON=python3; PYTHONPATH=.:libs/sparseops:libs/pointops:libs/pointgroup_ops \\
        python3 benchmarks/networks_gpu.py [--voxels 10000 …] [--precisions fp16 …] [--goldens DIR …] [--device cpu]

Prints tables in Markdown and writes benchmarks/results/networks-gpu.md, or to ``--output``. Weights are drawn at
random. Plan and network run from voxels on the device to logits on the device; their sum is by the processor's clock,
the device awaited. "again" is the network with a plan that was used before, which has grouped its maps. tf32 is what
torch.backends.cuda.matmul.allow_tf32 makes of float32.
"""

import argparse
import datetime
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from networks import NETWORKS, indoor
from stages import OPERATORS, kernels, stages
from torch import Tensor

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/networks-gpu.md"
SIZES = (10_000, 50_000, 100_000, 300_000, 1_000_000)
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
WARM_UP = 3
SHOWN_KERNELS = 12
TIMES = ["network", "voxels", "precision", "plan + network, ms", "plan, ms", "network, ms", "again, ms", "peak, GB"]
BUSY = ["kernels, ms", "kernels"]
STAGES = [*OPERATORS, "others in plan", "others in network"]
ERRORS = ["case", *(f"{name} {what}" for name in PRECISIONS for what in ("max abs", "labels"))]


@contextmanager
def arithmetic(precision: str) -> Iterator[str]:
    """The precision to ask the networks for, with torch's setting for float32 made to fit."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield "fp32" if precision == "tf32" else precision
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def timed(work: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """What ``work`` gives and its milliseconds, the device awaited."""
    wait(device)
    start = time.perf_counter()
    out = work()
    wait(device)
    return out, 1e3 * (time.perf_counter() - start)


def wait(device: torch.device) -> None:
    """For what the device has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(name: str, voxels: Tensor, precision: str, repeats: int) -> tuple[list[str], list[str], list[str]]:
    """Rows of the tables of times and of stages, and lines on the kernels that take most."""
    from app.networks.fold import fold
    from app.networks.precision import PRECISIONS as DTYPES
    from app.networks.precision import in_precision
    from app.networks.registry import build
    from app.networks.voxel_batch import VoxelBatch

    device, on_gpu = voxels.device, voxels.is_cuda
    torch.manual_seed(0)
    plain = build(NETWORKS[name]).requires_grad_(False).to(device)
    network: Any = in_precision(fold(plain), DTYPES[precision])
    batch = VoxelBatch(voxels)
    features = torch.randn(len(voxels), 6, device=device).to(DTYPES[precision])
    ms: dict[str, list[float]] = {"sum": [], "plan": [], "network": [], "again": []}
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for round_number in range(WARM_UP + repeats):
        _, both_ms = timed(lambda: network(features, network.plan(batch)), device)
        plan, plan_ms = timed(lambda: network.plan(batch), device)
        _, network_ms = timed(lambda plan=plan: network(features, plan), device)
        _, again_ms = timed(lambda plan=plan: network(features, plan), device)
        if round_number >= WARM_UP:
            for key, value in zip(ms, (both_ms, plan_ms, network_ms, again_ms), strict=True):
                ms[key].append(value)
    peak = f"{torch.cuda.max_memory_allocated() / 1e9:.2f}" if on_gpu else "–"
    split = [
        stages(lambda: network.plan(batch), lambda plan: network(features, plan), device) for _ in range(WARM_UP + 3)
    ]
    shares = [f"{statistics.median(each[stage] for each in split[WARM_UP:]):.2f}" for stage in STAGES]
    busy, most = ["–", "–"], []
    if on_gpu:
        total, count, names = kernels(lambda: network(features, network.plan(batch)))
        busy = [f"{total:.2f}", str(count)]
        most = [f"- {spent:.2f} ms `{kernel[:110]}`" for kernel, spent in names[:SHOWN_KERNELS]]
    return [*(spread(values) for values in ms.values()), peak], [*shares, *busy], most


def spread(values: list[float]) -> str:
    """Median, fastest, slowest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


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


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxels", type=int, nargs="+", default=SIZES)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--goldens", type=Path, nargs="*", default=[ROOT / "tests/golden"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    where = f"{torch.cuda.get_device_name() if on_gpu else 'processor'}, torch {torch.__version__}"
    times: list[list[str]] = []
    split: list[list[str]] = []
    notes: list[str] = []
    with torch.inference_mode():
        for name in arguments.networks:
            for num_voxels in arguments.voxels:
                voxels = indoor(num_voxels).to(device)
                for precision in arguments.precisions:
                    with arithmetic(precision) as asked:
                        measured, shares, most = measure(name, voxels, asked, arguments.repeats)
                    label = [name, f"{num_voxels:,}", precision]
                    times.append([*label, *measured])
                    split.append([*label, *shares])
                    print(*times[-1], *shares, sep=" | ", flush=True)
                    if most and num_voxels == 100_000:
                        notes += ["", f"{name}, {num_voxels:,} voxels, {precision}:", "", *most]
    text = [f"# Networks on {where}", "", f"{datetime.date.today()}. Milliseconds: median (fastest–slowest).", ""]
    text += table(TIMES, times)
    text += ["", "## Where the time goes", "", "Milliseconds between events; with gaps in which the device waits.", ""]
    text += table([*TIMES[:3], *STAGES, *BUSY], split)
    if notes:
        text += ["", "Kernels that take most:", *notes]
    if arguments.goldens:
        text += ["", "## Errors", "", "Against the goldens, whose logits have a standard deviation of about 1.5.", ""]
        text += table(ERRORS, list(errors(arguments.goldens, arguments.precisions, str(device))))
    print("\n".join(text))
    arguments.output.write_text("\n".join([*text, ""]))


if __name__ == "__main__":
    main()
