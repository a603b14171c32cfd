"""Whole networks at full size on the processor, geometry included, beside upstream's figures.

    python benchmarks/networks.py [--voxels 20000 50000 100000] [--networks SpUNet PT-v3m1] [--repeats 5]

Prints a table in Markdown; without ``--voxels`` and ``--networks`` it also writes benchmarks/results/networks-cpu.md.
Every row is measured in a process of its own, in turns with the matrix product that its share refers to, with weights
drawn at random. The peak is of the whole process, torch included. Upstream's seconds and gigabytes are those of
Pointcept at commit d74c646 on two cores of such a machine when idle, its convolutions on the one thread with which they
are right.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from scannet import NETWORKS
from timing import machine, spread
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

RESULTS = Path(__file__).parent / "results/networks-cpu.md"
SIZES = (20_000, 50_000, 100_000)
UPSTREAM_S = {"SpUNet": (0.51, 1.38, 3.55), "PT-v3m1": (2.6, 9.6, 26.0)}  # at SIZES
UPSTREAM_PEAK_GB = {("SpUNet", 100_000): 1.1, ("PT-v3m1", 100_000): 4.3}
GEMM_SIZE = 2048


def indoor(num_voxels: int) -> Tensor:
    """Floor, walls and boxes of a room of 3 m in voxels of 2 cm, int64 (num_voxels, 4), in random order."""
    rng = np.random.default_rng(0)
    height, side = 150, int((num_voxels / 3.2) ** 0.5) + 40
    patches = [((0, 0, 0), (side, 0, 0), (0, side, 0))]
    patches += [(at, (0, side, 0), (0, 0, height)) for at in ((0, 0, 0), (side, 0, 0))]
    patches += [(at, (side, 0, 0), (0, 0, height)) for at in ((0, 0, 0), (0, side, 0))]
    for _ in range(8):
        x, y = rng.integers(5, side - 45, 2)
        wide, deep, high = rng.integers(15, 40, 3)
        patches.append(((x, y, high), (wide, 0, 0), (0, deep, 0)))
        patches += [(at, (wide, 0, 0), (0, 0, high)) for at in ((x, y, 0), (x, y + deep, 0))]
        patches += [(at, (0, deep, 0), (0, 0, high)) for at in ((x, y, 0), (x + wide, y, 0))]
    points = []
    for corner, along, up in np.array(patches):
        count = 6 * int(along.sum() * up.sum())  # six points a voxel leave few holes
        points.append(corner + rng.random((count, 1)) * along + rng.random((count, 1)) * up)
    noisy = np.concatenate(points)
    noisy += rng.normal(2, 0.25, noisy.shape)  # 5 mm
    grid = np.unique(np.floor(noisy).astype(np.int64), axis=0)
    if len(grid) < num_voxels:
        raise ValueError(f"the room has {len(grid)} voxels, {num_voxels} were asked for")
    grid = grid[:num_voxels]  # sorted by x: the room ends at a wall of the benchmark's own
    grid = rng.permutation(grid - grid.min(0))
    return torch.from_numpy(np.insert(grid, 0, 0, axis=1))


def measure(name: str, num_voxels: int, repeats: int) -> dict[str, Any]:
    """Seconds of plan, network and matrix product, the network's GFLOP, the process's peak in GB."""
    from app.networks.fold import fold
    from app.networks.registry import build
    from app.networks.voxel_batch import VoxelBatch

    torch.manual_seed(0)
    network: Any = fold(build(NETWORKS[name]).requires_grad_(False))
    batch, features = VoxelBatch(indoor(num_voxels)), torch.randn(num_voxels, 6)
    left, right = torch.randn(2, GEMM_SIZE, GEMM_SIZE)
    seconds: dict[str, list[float]] = {"plan": [], "network": [], "gemm": []}
    with torch.inference_mode():
        for round_number in range(repeats + 1):
            plan, plan_s = _timed(lambda: network.plan(batch))
            _, network_s = _timed(lambda plan=plan: network(features, plan))
            _, gemm_s = _timed(lambda: left @ right)
            if round_number:
                for key, value in (("plan", plan_s), ("network", network_s), ("gemm", gemm_s)):
                    seconds[key].append(value)
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        unfolded: Any = build(NETWORKS[name])  # each operation is a call of its own
        gflop = count_gflop(lambda: unfolded(features, unfolded.plan(batch)))
    return {"seconds": seconds, "gflop": gflop, "peak_gb": peak_gb, "machine": machine()}


def count_gflop(run: Callable[[], object]) -> float:
    """Of the convolutions, linear layers and attention that ``run`` does."""
    from app.networks import batch_invariant_linear, sparse
    from app.networks.ptv3 import attention, block

    flop = 0

    def counted_conv(features: Tensor, weight: Any, kernel_map: Any, *others: Any) -> Tensor:
        nonlocal flop
        out = sparse_conv(features, weight, kernel_map, *others)
        pairs = len(features) if kernel_map is None else int((kernel_map.forwards >= 0).sum())
        flop += 2 * pairs * features.shape[1] * out.shape[1]
        return out

    def counted_attention(qkv: Tensor, cu_seqlens: Tensor, *others: Any, **named: Any) -> Tensor:
        nonlocal flop
        flop += 4 * int(cu_seqlens.diff().long().square().sum()) * qkv[0, 0].numel()
        return patch_attention(qkv, cu_seqlens, *others, **named)

    sparse_conv, patch_attention = sparse.sparse_conv, attention.patch_attention
    with (
        patch.object(sparse, "sparse_conv", counted_conv),
        patch.object(batch_invariant_linear, "sparse_conv", counted_conv),
        patch.object(block, "sparse_conv", counted_conv),
        patch.object(attention, "patch_attention", counted_attention),
        FlopCounterMode(display=False) as products,
    ):
        run()
    return (flop + products.get_total_flops()) / 1e9


def row(name: str, num_voxels: int, measured: dict[str, Any]) -> list[str]:
    """Of the table."""
    seconds = measured["seconds"]
    total = statistics.median(map(sum, zip(seconds["plan"], seconds["network"], strict=True)))
    gemm = 2e-9 * GEMM_SIZE**3 / statistics.median(seconds["gemm"])
    upstream = dict(zip(SIZES, UPSTREAM_S[name], strict=True)).get(num_voxels)
    upstream_peak = UPSTREAM_PEAK_GB.get((name, num_voxels))
    return [
        name,
        str(num_voxels),
        spread(seconds["plan"]),
        spread(seconds["network"]),
        "" if upstream is None else f"{upstream:g}",
        "" if upstream is None else f"{upstream / total:.1f}",
        f"{measured['gflop']:.0f}",
        f"{measured['gflop'] / total:.0f}",
        f"{gemm:.0f}",
        f"{measured['gflop'] / total / gemm:.0%}",
        f"{measured['peak_gb']:.2f}",
        "" if upstream_peak is None else f"{upstream_peak:g}",
    ]


HEADER = [
    "network",
    "voxels",
    "plan, s",
    "network, s",
    "upstream, s",
    "times as fast",
    "GFLOP",
    "GFLOP/s",
    "matrix product GFLOP/s",
    "of that",
    "peak, GB",
    "upstream's",
]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxels", type=int, nargs="+")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, num_voxels, repeats = arguments.one
        print(json.dumps(measure(name, int(num_voxels), int(repeats))))
        return
    rows, where = [HEADER, ["---"] * len(HEADER)], ""
    for name in arguments.networks or NETWORKS:
        for num_voxels in arguments.voxels or SIZES:
            command = [sys.executable, __file__, "--one", name, str(num_voxels), str(arguments.repeats)]
            measured = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            rows.append(row(name, num_voxels, measured))
            where = measured["machine"]
    lines = ["# Networks on the processor", "", f"{where}. Seconds: median (fastest–slowest), float32.", ""]
    text = "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows), ""])
    print(text)
    if not arguments.voxels and not arguments.networks:
        RESULTS.write_text(text)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    out = work()
    return out, time.perf_counter() - start


if __name__ == "__main__":
    main()
