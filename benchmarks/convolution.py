"""Kernel maps and submanifold convolutions on the processor, beside spconv and the plain matrix product.

spconv runs with one thread, since with more its results are wrong (the last table).
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import peers
import torch
from sparseops import pack_weight, reference, sort_voxels, sparse_conv, strided_map, submanifold_map
from spconv_peer import Peer
from table import Table, print_alone
from timing import in_turns, spread
from torch import Tensor

VOXELS = (20_000, 100_000)
CHANNELS = (32, 64, 128, 256)
Rows = list[list[str]]


def surface(num_voxels: int) -> Tensor:
    """About ``num_voxels`` voxels of hilly ground with walls, int64 (V, 4), ascending."""
    generator = torch.Generator().manual_seed(0)
    side = int((num_voxels / 1.36) ** 0.5)
    x, y = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    height = 60 + 20 * torch.sin(x / 37) + 15 * torch.cos(y / 29) + 0.5 * torch.randn(side, side, generator=generator)
    ground = torch.stack([torch.zeros_like(x), x, y, height.long()], -1).reshape(-1, 4)
    wall = ground[torch.rand(len(ground), generator=generator) < 0.12]
    return torch.cat([ground, *(wall + torch.tensor([0, 0, 0, step]) for step in (1, 2, 3))]).unique(dim=0)


def tables(scale: float, repeats: int) -> Iterator[Table]:
    """Of the sizes times ``scale``, the times of ``repeats`` rounds."""
    sizes = [round(size * scale) for size in VOXELS]
    with torch.inference_mode():
        yield Table("Kernel maps", _maps(sizes, repeats))
        rows = _convolutions(sizes, repeats, torch.float32)
        yield Table("Submanifold convolution k=3, float32", rows, peers.notes("spconv"))
        yield Table("Submanifold convolution k=3, bfloat16", _convolutions(sizes, repeats, torch.bfloat16))
        yield Table("Largest error against float64, C = 64", _errors(sizes[0]), peers.notes("spconv"))


def _maps(sizes: Sequence[int], repeats: int) -> Rows:
    rows = [["voxels", "operator", "ascending", "shuffled", "plain torch", "share of convolution k=3, C = 64"]]
    for size in sizes:
        coords = surface(size)
        shuffled = coords[torch.randperm(len(coords), generator=torch.Generator().manual_seed(0))]
        weight, features = pack_weight(torch.randn(64, 3, 3, 3, 64)), torch.randn(len(coords), 64)
        kernel_map = submanifold_map(coords, 3)
        for name, ours, plain in (
            ("submanifold k=3", lambda c: submanifold_map(c, 3), lambda c: reference.submanifold_map(c, 3)),
            ("submanifold k=5", lambda c: submanifold_map(c, 5), lambda c: reference.submanifold_map(c, 5)),
            ("strided k=2 s=2", strided_map, reference.strided_map),
            ("order", sort_voxels, lambda c: reference.pack_keys(c).argsort()),
        ):
            works = [
                lambda ours=ours, c=coords: ours(c),
                lambda ours=ours, c=shuffled: ours(c),
                lambda plain=plain, c=shuffled: plain(c),
                lambda f=features, w=weight, m=kernel_map: sparse_conv(f, w, m),
            ]
            ascending, mixed, torch_times, conv = in_turns(works, repeats)
            share = statistics.median(ascending) / statistics.median(conv)
            rows.append([str(len(coords)), name, spread(ascending), spread(mixed), spread(torch_times), f"{share:.1%}"])
    return rows


def _convolutions(sizes: Sequence[int], repeats: int, dtype: torch.dtype) -> Rows:
    beside_spconv = dtype == torch.float32
    rows = [["voxels", "C", "sparseops", "GFLOP/s", "matrix product GFLOP/s", "of that"]]
    rows[0] += ["spconv, 1 thread", "times faster"] if beside_spconv else []
    for size in sizes:
        coords = surface(size)
        kernel_map = submanifold_map(coords, 3)
        for width in CHANNELS:
            torch.manual_seed(0)
            features, weight = torch.randn(len(coords), width), torch.randn(width, 3, 3, 3, width)
            given, packed = features.to(dtype), pack_weight(weight.to(dtype))
            matrix, product = weight[:, 1, 1, 1].to(dtype), torch.empty(len(coords), width, dtype=dtype)
            works: list[Callable[[], object]] = [
                lambda f=given, w=packed, m=kernel_map: sparse_conv(f, w, m),
                lambda f=given, w=matrix, out=product: torch.mm(f, w, out=out),
            ]
            with ExitStack() as stack:
                if beside_spconv and peers.present("spconv"):
                    peer = Peer(coords, features, weight, 1)
                    stack.callback(peer.close)
                    works.append(peer.run)
                ours, products, *theirs = in_turns(works, repeats)
            rate = 2e-6 * sum(kernel_map.counts) * width**2 / statistics.median(ours)
            product_rate = 2e-6 * len(coords) * width**2 / statistics.median(products)
            row = [str(len(coords)), str(width), spread(ours), f"{rate:.0f}", f"{product_rate:.0f}"]
            row.append(f"{rate / product_rate:.0%}")
            for times in theirs:
                row += [spread(times), f"{statistics.median(times) / statistics.median(ours):.1f}"]
            rows.append(row + [peers.MISSING] * (len(rows[0]) - len(row)))
    return rows


def _errors(size: int) -> Rows:
    coords = surface(size)
    kernel_map = submanifold_map(coords, 3)
    features, weight = torch.randn(len(coords), 64), torch.randn(64, 3, 3, 3, 64)
    expected = reference.sparse_conv(features.double(), weight.double().flatten(1, 3), kernel_map)
    found = sparse_conv(features, weight, kernel_map).double()
    rows = [["", "threads", "error"]]
    rows.append(["sparseops", str(torch.get_num_threads()), f"{float((found - expected).abs().max()):.1e}"])
    for threads in (1, torch.get_num_threads()):
        error = peers.MISSING
        if peers.present("spconv"):
            peer = Peer(coords, features, weight, threads)
            error = f"{peer.error(expected):.1e}"
            peer.close()
        rows.append(["spconv", str(threads), error])
    return rows


if __name__ == "__main__":
    print_alone(tables, __doc__)
