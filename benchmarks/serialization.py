"""Serialization, segment reductions, patch padding and patch attention beside plain torch.

    python benchmarks/serialization.py [--device cuda] [--repeats 15]

Prints a table in Markdown: median milliseconds with the fastest and slowest run, and how many times faster the compiled
operator is than plain torch on the same machine. The two take turns, run by run. On a GPU the milliseconds are the
device's, between events.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from sparseops import ARCHITECTURES, CURVES, patch_attention, patch_padding, segment_reduce, serialize, sort_codes
from sparseops import reference_serial as reference

NUMBERS = list(range(len(CURVES)))


@dataclass(frozen=True)
class Work:
    """The same work twice: ``compiled`` and ``plain``."""

    name: str
    size: str
    compiled: Callable[[], object]
    plain: Callable[[], object]


def works(device: str) -> Iterator[Work]:
    """What is measured."""
    generator = torch.Generator().manual_seed(0)
    for num_points, depth in ((100_000, 10), (1_000_000, 12)):
        size = f"{num_points // 1000} k, depth {depth}"
        coord = torch.randint(0, 1 << depth, (num_points, 3), generator=generator, dtype=torch.int32).to(device)
        codes = reference.serialization_codes(coord, None, None, depth, NUMBERS)
        bits = 3 * depth
        yield Work(
            "four codes",
            size,
            lambda c=coord, d=depth: torch.ops.sparseops.serialization_codes(c, None, None, d, NUMBERS),
            lambda c=coord, d=depth: reference.serialization_codes(c, None, None, d, NUMBERS),
        )
        for row in (0, 2):
            yield Work(
                f"code {CURVES[row]}",
                size,
                lambda c=coord, d=depth, r=row: torch.ops.sparseops.serialization_codes(c, None, None, d, [r]),
                lambda c=coord, d=depth, r=row: reference.serialization_codes(c, None, None, d, [r]),
            )
        yield Work(
            "four orders and inverses",
            size,
            lambda c=codes, b=bits: sort_codes(c, b),
            lambda c=codes, b=bits: reference.sort_codes(c, b),
        )
        yield Work(
            "serialize: codes, orders, inverses",
            size,
            lambda c=coord, d=depth: serialize(c, depth=d, check=False),
            lambda c=coord, d=depth, b=bits: reference.sort_codes(
                reference.serialization_codes(c, None, None, d, NUMBERS), b
            ),
        )
    values = torch.randn(100_000, 64, generator=generator).to(device)
    inner = torch.randint(0, 100_000, (24_999,), generator=generator).sort().values
    offsets = torch.cat([torch.tensor([0]), inner, torch.tensor([100_000])]).to(device)
    for reduction in reference.REDUCTIONS:
        yield Work(
            f"segment {reduction}",
            "100 k × 64 to 25 k",
            lambda r=reduction: segment_reduce(values, offsets, r),
            lambda r=reduction: torch.segment_reduce(values, r, offsets=offsets, unsafe=True, initial=0),
        )
    ends = torch.arange(1, 9) * 12_500
    sizes = tuple(len(part) for part in patch_padding(ends, 1024))
    yield Work(
        "patch padding",
        "100 k in 8 clouds, 1024",
        lambda: patch_padding(ends, 1024, device),
        lambda: reference.patch_padding(ends.to(device), 1024, sizes[1], sizes[0], sizes[2] - 1),
    )
    if device == "cpu":
        yield from attention_works(generator)


def attention_works(generator: torch.Generator) -> Iterator[Work]:
    """Attention in patches of PTv3's and other lengths; torch's is scaled_dot_product_attention."""
    for length, heads, dim in ((1024, 2, 16), (1024, 4, 16), (128, 4, 16), (1024, 4, 32)):
        num_points = 32 * 1024
        qkv = torch.randn(num_points, 3, heads, dim, generator=generator)
        cu_seqlens = torch.arange(0, num_points + 1, length, dtype=torch.int32)
        yield Work(
            f"patch attention, {4 * num_points * length * heads * dim / 1e9:.1f} GFLOP",
            f"{num_points // 1024} Ki, patch {length}, {heads} heads of {dim}",
            lambda q=qkv, c=cu_seqlens: patch_attention(q, c),
            lambda q=qkv, c=cu_seqlens, d=dim: reference.patch_attention(q, c, d**-0.5, None),
        )


def milliseconds(run: Callable[[], object], device: str) -> float:
    """Of one run, on a GPU between two events."""
    if device == "cpu":
        start = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - start)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def spread(times: list[float]) -> str:
    """Median with the fastest and the slowest."""
    return f"{statistics.median(times):.3f} ({min(times):.3f} to {max(times):.3f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {name}, sparseops for {', '.join(ARCHITECTURES)}, {options.repeats} runs\n")
    print("| operator | size | compiled, ms | plain torch, ms | times faster |")
    print("| --- | --- | --- | --- | --- |")
    for work in works(options.device):
        runs = (work.compiled, work.plain)
        for run in runs:
            run()
        times = [[milliseconds(run, options.device) for run in runs] for _ in range(options.repeats)]
        compiled, plain = (list(column) for column in zip(*times, strict=True))
        ratio = statistics.median(plain) / statistics.median(compiled)
        print(f"| {work.name} | {work.size} | {spread(compiled)} | {spread(plain)} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
