"""Kernel maps and sparse convolution on a GPU."""

from collections.abc import Iterator

import torch
from gpu_cases.case import Case
from sparseops import KernelMap, pack_weight, reference, sparse_conv, strided_map, submanifold_map
from torch import Tensor

NUM_VOXELS = 100_000
INPUTS = 4
TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "tf32": torch.float32, "fp32": torch.float32}
TOLERANCES = {"fp16": 4e-4, "bf16": 3e-3, "tf32": 5e-4, "fp32": 3e-6}
UPSTREAM_MS = {
    "fp16": {32: 0.051, 64: 0.085, 128: 0.276, 256: 1.12},
    "fp32": {32: 0.19, 64: 0.55, 128: 1.99, 256: 8.6},
}
WANTED_MS = {"fp16": {32: 0.051, 64: 0.085, 128: 0.14, 256: 0.56}, "fp32": {32: 0.19, 64: 0.55, 128: 1.0, 256: 4.3}}
PLANES, SPHERES = 12, 6
POINTS_PER_VOXEL_AREA = 2.75


def scanned(num_voxels: int) -> Tensor:
    """About ``num_voxels`` voxels of planes and spheres askew to the grid, sampled so thinly that there are holes.

    int64 (V, 4), ascending. A voxel has 10.8 neighbours in a kernel of 3, itself counted: as many as in the work that
    the upstream milliseconds were taken on, by their rates.
    """
    generator = torch.Generator().manual_seed(0)
    side = (num_voxels / 25) ** 0.5  # of a plane
    samples = int(POINTS_PER_VOXEL_AREA * side**2)
    parts = []
    for _ in range(PLANES):
        axes = torch.linalg.qr(torch.randn(3, 2, generator=generator))[0].T
        along = side * torch.rand(samples, 2, generator=generator)
        parts.append(100 + 200 * torch.rand(3, generator=generator) + along @ axes)
    radius = 0.4 * side
    for _ in range(SPHERES):
        directions = torch.randn(int(samples * 4 * torch.pi * 0.4**2), 3, generator=generator)
        centre = 150 + 200 * torch.rand(3, generator=generator)
        parts.append(centre + radius * torch.nn.functional.normalize(directions, dim=1))
    voxels = torch.cat(parts).floor().long()
    return torch.nn.functional.pad(voxels, (1, 0)).unique(dim=0)


def maps() -> Iterator[Case]:
    """Kernel maps of ``NUM_VOXELS`` scanned voxels, ascending."""
    coords = scanned(NUM_VOXELS)
    inputs = [coords.cuda() + torch.tensor([0, shift, shift, shift], device="cuda") for shift in range(0, 8, 2)]
    num = len(coords)
    for kernel_size, upstream_ms, wanted_ms in ((3, 0.12, 0.06), (5, 0.22, 0.11)):

        def error(kernel_size: int = kernel_size) -> float:
            expected = reference.submanifold_map(coords, kernel_size).forwards
            assert torch.equal(submanifold_map(coords.cuda(), kernel_size).forwards.cpu(), expected)
            return 0.0

        yield Case(
            f"map k={kernel_size}, {num} voxels",
            [lambda c=c, k=kernel_size: torch.ops.sparseops.submanifold_map(c, k) for c in inputs],
            error,
            0.0,
            32 * num + 4 * kernel_size**3 * num,
            upstream_ms=upstream_ms,
            wanted_ms=wanted_ms,
        )
    coarse, down = strided_map(inputs[0])

    def strided_error() -> float:
        expected_coarse, expected = reference.strided_map(coords)
        found_coarse, found = strided_map(coords.cuda())
        assert torch.equal(found_coarse.cpu(), expected_coarse)
        assert torch.equal(found.forwards.cpu(), expected.forwards)
        assert found.backwards is not None
        assert expected.backwards is not None
        assert torch.equal(found.backwards.cpu(), expected.backwards)
        return 0.0

    yield Case(
        f"map k=2 s=2, {num} voxels, with the wait for its size",
        [lambda c=c: torch.ops.sparseops.strided_map(c) for c in inputs],
        strided_error,
        0.0,
        32 * num + 32 * len(coarse) + 32 * (num + len(coarse)),
        upstream_ms=0.14,
        wanted_ms=0.07,
    )

    def map_and_grouping(c: Tensor) -> object:
        return torch.ops.sparseops.group_rows(torch.ops.sparseops.submanifold_map(c, 3))

    yield Case(
        f"map k=3 and grouping of its rows, {num} voxels",
        [lambda c=c: map_and_grouping(c) for c in inputs],
        lambda: 0.0,  # checked apart
        0.0,
        32 * num + 4 * 27 * num * 3,
        upstream_ms=0.12,
        wanted_ms=0.06,
    )
    for name, table in (("k=3", submanifold_map(inputs[0], 3).forwards), ("inverse k=2", down.inverse().forwards)):

        def grouping_error(table: Tensor = table) -> float:
            order, rows = torch.ops.sparseops.group_rows(table)
            assert torch.equal(rows, table[:, order.long()])
            return 0.0

        yield Case(
            f"grouping of rows, {name}",
            [lambda table=table: torch.ops.sparseops.group_rows(table)],
            grouping_error,
            0.0,
            2 * 4 * table.numel() + 4 * table.shape[1],
        )


def convolutions() -> Iterator[Case]:
    """Submanifold convolutions of kernel 3, their map and its grouping known; then a down and an up step."""
    coords = scanned(NUM_VOXELS)
    kernel_map = submanifold_map(coords.cuda(), 3)
    for kind in TYPES:
        for channels in (32, 64, 96, 128, 256):
            yield convolution(f"conv k=3 {kind}", kernel_map, kind, channels, channels, 3)
    _, down = strided_map(coords.cuda())
    for channels in (32, 128):
        yield convolution("conv k=2 s=2 fp16", down, "fp16", channels, channels, 2)
        yield convolution("inverse conv k=2 fp16", down.inverse(), "fp16", channels, channels, 2)
    yield convolution("stem k=5 fp16", submanifold_map(coords.cuda(), 5), "fp16", 6, 32, 5)


def convolution(name: str, kernel_map: KernelMap, kind: str, in_channels: int, out_channels: int, size: int) -> Case:
    """One convolution along a known map."""
    dtype = TYPES[kind]
    tf32 = kind == "tf32"
    num_offsets, num_out = kernel_map.forwards.shape
    weight = torch.randn(out_channels, size, size, size, in_channels, device="cuda")
    packed = pack_weight((weight / (num_offsets * in_channels) ** 0.5).to(dtype))
    features = [torch.randn(kernel_map.num_in, in_channels, device="cuda").to(dtype) for _ in range(INPUTS)]
    num_pairs = sum(kernel_map.counts)

    def error() -> float:
        fresh = torch.randn(kernel_map.num_in, in_channels, device="cuda").to(dtype)
        torch.full((num_out, out_channels), float("nan"), device="cuda", dtype=dtype)  # left in the output's memory
        found = run(fresh)
        kernels = packed.data.double()
        expected = reference.sparse_conv(fresh.double(), kernels, kernel_map)
        return float((found.double() - expected).norm() / expected.norm())

    def run(given: Tensor) -> Tensor:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        return sparse_conv(given, packed, kernel_map)

    wide = dtype.itemsize
    values = kernel_map.num_in * in_channels + num_out * out_channels + weight.numel()
    same = in_channels == out_channels and size == 3
    return Case(
        f"{name}, {in_channels} → {out_channels}, {num_pairs / num_out:.1f} pairs a row",
        [lambda given=given: run(given) for given in features],
        error,
        TOLERANCES[kind],
        wide * values + 4 * kernel_map.forwards.numel(),
        flop=2.0 * num_pairs * in_channels * out_channels,
        rate="float" if kind == "fp32" else "tensor",
        upstream_ms=UPSTREAM_MS.get(kind, {}).get(in_channels) if same else None,
        wanted_ms=WANTED_MS.get(kind, {}).get(in_channels) if same else None,
    )
