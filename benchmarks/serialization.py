"""Grid sampling, serialization, segment reductions, patch padding and patch attention beside numpy and plain torch, on
the processor."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scenes import room
from sparseops import CURVES, grid_sample, patch_attention, patch_padding, segment_reduce, serialize, sort_codes
from sparseops import reference_serial as reference
from table import Table, print_alone
from timing import faster, in_turns, spread

SIZES = ((100_000, 10), (1_000_000, 12))  # points and depth
GRID_SIZE_M = 0.02
ROWS, SEGMENTS, CHANNELS = 100_000, 25_000, 64
CLOUDS, PATCH = 8, 1024
ATTENTION_POINTS = 32 * 1024
NUMBERS = list(range(len(CURVES)))


@dataclass(frozen=True)
class Work:
    """The same work twice: ``compiled`` and ``plain``."""

    name: str
    size: str
    compiled: Callable[[], object]
    plain: Callable[[], object]


def tables(scale: float, repeats: int) -> Iterator[Table]:
    """Of the sizes times ``scale``, the times of ``repeats`` rounds."""
    generator = torch.Generator().manual_seed(0)
    rows = [["operator", "size", "sparseops", "beside it", "faster by"]]
    for works in (_grids, _orders, _segments, _padding, _attention):
        for work in works(scale, generator):
            compiled, plain = in_turns((work.compiled, work.plain), repeats)
            rows.append([work.name, work.size, spread(compiled, 3), spread(plain, 3), faster(compiled, plain)])
    note = (
        "Beside it are the steps of Pointcept's `GridSample` in numpy for grids, and of torch "
        "`sparseops.reference_serial` for codes, orders and padding, `torch.segment_reduce` for segments and "
        "`scaled_dot_product_attention` over all patches at once for attention."
    )
    yield Table("Beside numpy and plain torch", rows, [note])


def _grids(scale: float, generator: torch.Generator) -> Iterator[Work]:
    for most_points, _ in SIZES:
        coord = room(round(most_points * scale), np.random.default_rng(0)).double()
        yield Work(
            "grid sampling",
            f"{len(coord):,} points of a room, {GRID_SIZE_M} m",
            lambda c=coord: grid_sample(c, GRID_SIZE_M),
            lambda c=coord: _sampled(c.numpy()),
        )


def _sampled(coord: np.ndarray) -> tuple[np.ndarray, ...]:
    """Order, inverse and counts by FNV keys, a sort and a search for the distinct ones."""
    cells = np.floor(coord / GRID_SIZE_M).astype(np.int64)
    cells -= cells.min(0)
    keys = np.full(len(cells), 14695981039346656037, np.uint64)
    for axis in cells.astype(np.uint64).T:
        keys = keys * np.uint64(1099511628211) ^ axis
    order = np.argsort(keys)
    _, inverse, counts = np.unique(keys[order], return_inverse=True, return_counts=True)
    return order, inverse, counts


def _orders(scale: float, generator: torch.Generator) -> Iterator[Work]:
    for most_points, depth in SIZES:
        num_points = round(most_points * scale)
        size = f"{num_points:,}, depth {depth}"
        coord = torch.randint(0, 1 << depth, (num_points, 3), generator=generator, dtype=torch.int32)
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


def _segments(scale: float, generator: torch.Generator) -> Iterator[Work]:
    num_rows, num_segments = round(ROWS * scale), round(SEGMENTS * scale)
    values = torch.randn(num_rows, CHANNELS, generator=generator)
    inner = torch.randint(0, num_rows, (num_segments - 1,), generator=generator).sort().values
    offsets = torch.cat([torch.tensor([0]), inner, torch.tensor([num_rows])])
    for reduction in reference.REDUCTIONS:
        yield Work(
            f"segment {reduction}",
            f"{num_rows:,} × {CHANNELS} to {num_segments:,}",
            lambda r=reduction: segment_reduce(values, offsets, r),
            lambda r=reduction: torch.segment_reduce(values, r, offsets=offsets, unsafe=True, initial=0),
        )


def _padding(scale: float, generator: torch.Generator) -> Iterator[Work]:
    ends = torch.arange(1, CLOUDS + 1) * round(ROWS * scale / CLOUDS)
    padded = patch_padding(ends, PATCH)
    sizes = len(padded.unpad), len(padded.pad), len(padded.cu_seqlens) - 1
    yield Work(
        "patch padding",
        f"{sizes[0]:,} in {CLOUDS} clouds, {PATCH}",
        lambda: patch_padding(ends, PATCH),
        lambda: reference.patch_padding(ends, PATCH, *sizes),
    )


def _attention(scale: float, generator: torch.Generator) -> Iterator[Work]:
    """In patches of PTv3's and other lengths."""
    for length, heads, dim in ((1024, 2, 16), (1024, 4, 16), (128, 4, 16), (1024, 4, 32)):
        num_points = length * max(1, round(ATTENTION_POINTS * scale / length))
        qkv = torch.randn(num_points, 3, heads, dim, generator=generator)
        cu_seqlens = torch.arange(0, num_points + 1, length, dtype=torch.int32)
        yield Work(
            f"patch attention, {4 * num_points * length * heads * dim / 1e9:.1f} GFLOP",
            f"{num_points:,}, patch {length}, {heads} heads of {dim}",
            lambda q=qkv, c=cu_seqlens: patch_attention(q, c),
            lambda q=qkv, c=cu_seqlens, d=dim: reference.patch_attention(q, c, d**-0.5),
        )


if __name__ == "__main__":
    print_alone(tables, __doc__)
