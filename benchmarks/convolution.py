"""Kernel maps and submanifold convolutions on the processor, beside spconv and the plain matrix product."""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec

import torch
from sparseops import pack_weight, reference, sort_voxels, sparse_conv, strided_map, submanifold_map
from timing import in_turns, spread
from torch import Tensor

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


class Peer:
    """spconv's submanifold convolution of the same features and weight, in a process with ``threads`` threads."""

    def __init__(self, coords: Tensor, features: Tensor, weight: Tensor, threads: int):
        self.file = tempfile.NamedTemporaryFile(suffix=".pt")  # noqa: SIM115
        torch.save((coords, features, weight), self.file.name)
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.file.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )

    def run(self, command: str = "run") -> str:
        """Once, its kernel map known from the first time; the file with its result where the command is "save"."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("done"):
                return line[5:-1]
        raise RuntimeError("spconv ended")

    def error(self, expected: Tensor) -> float:
        """Largest difference of its results of five runs from ``expected``."""
        return max(float((torch.load(self.run("save")).double() - expected).abs().max()) for _ in range(5))

    def close(self) -> None:
        """End the process."""
        self.process.communicate()
        self.file.close()


def serve_peer(path: str) -> None:
    """The other side of ``Peer``."""
    import spconv.pytorch as spconv

    coords, features, weight = torch.load(path)
    conv = spconv.SubMConv3d(weight.shape[4], weight.shape[0], 3, bias=False, indice_key="map")
    shape = (coords.amax(0)[1:] + 1).tolist()
    known: dict = {}
    with torch.inference_mode():
        conv.weight.copy_(weight)
        for command in sys.stdin:
            cloud = spconv.SparseConvTensor(features, coords.int(), shape, 1, indice_dict=known)
            out = conv(cloud)
            known = out.indice_dict
            if command == "save\n":
                torch.save(out.features, path)
            print("done", path, flush=True)


def tables(sizes: Sequence[int], channels: Sequence[int], repeats: int) -> Iterator[tuple[str, Rows]]:
    """Title and rows of each table, the header first."""
    with torch.inference_mode():
        yield "Kernel maps", _maps(sizes, repeats)
        for dtype in (torch.float32, torch.bfloat16):
            name = str(dtype).removeprefix("torch.")
            yield (
                f"Submanifold convolution k=3, {name}",
                _convolutions(sizes, channels, repeats, dtype),
            )
        if find_spec("spconv") is not None:
            yield "Largest error against float64, C = 64", _errors(sizes[0])


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


def _convolutions(
    sizes: Sequence[int],
    channels: Sequence[int],
    repeats: int,
    dtype: torch.dtype,
) -> Rows:
    with_peer = find_spec("spconv") is not None and dtype == torch.float32
    rows = [["voxels", "C", "sparseops", "GFLOP/s", "matrix product GFLOP/s", "of that"]]
    rows[0] += ["spconv, 1 thread", "times faster"] if with_peer else []
    for size in sizes:
        coords = surface(size)
        kernel_map = submanifold_map(coords, 3)
        for width in channels:
            torch.manual_seed(0)
            features, weight = torch.randn(len(coords), width), torch.randn(width, 3, 3, 3, width)
            given, packed = features.to(dtype), pack_weight(weight.to(dtype))
            matrix, product = weight[:, 1, 1, 1].to(dtype), torch.empty(len(coords), width, dtype=dtype)
            works: list[Callable[[], object]] = [
                lambda f=given, w=packed, m=kernel_map: sparse_conv(f, w, m),
                lambda f=given, w=matrix, out=product: torch.mm(f, w, out=out),
            ]
            with ExitStack() as stack:
                if with_peer:
                    peer = Peer(coords, features, weight, 1)
                    stack.callback(peer.close)
                    works.append(peer.run)
                times = in_turns(works, repeats)
            median = [statistics.median(of_work) for of_work in times]
            rate = 2e-6 * sum(kernel_map.counts) * width**2 / median[0]
            product_rate = 2e-6 * len(coords) * width**2 / median[1]
            row = [str(len(coords)), str(width), spread(times[0]), f"{rate:.0f}", f"{product_rate:.0f}"]
            row.append(f"{rate / product_rate:.0%}")
            rows.append(row + ([spread(times[2]), f"{median[2] / median[0]:.1f}"] if with_peer else []))
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
        peer = Peer(coords, features, weight, threads)
        rows.append(["spconv", str(threads), f"{peer.error(expected):.1e}"])
        peer.close()
    return rows


if __name__ == "__main__":
    serve_peer(sys.argv[1])
