"""Orders along the four space-filling curves, and grids of points, on a GPU."""

from collections.abc import Iterator

import numpy as np
import torch
from gpu_cases.case import Case
from scenes import room
from sparseops import CURVES, grid_sample, serialize
from sparseops.reference_serial import serialization_codes
from torch import Tensor

INPUTS = 4
GRID_SIZE_M = 0.02
DEPTH = {100_000: 10, 1_000_000: 12}
UPSTREAM_MS = {100_000: 2.3}
WANTED_MS = {100_000: 0.15}


def orders() -> Iterator[Case]:
    """Codes, orders and inverses along all curves, of points in no order."""
    for num_points, depth in DEPTH.items():
        generator = torch.Generator().manual_seed(num_points)
        size = (num_points, 3)
        clouds = [torch.randint(1 << depth, size, generator=generator, dtype=torch.int32) for _ in range(INPUTS)]
        inputs = [cloud.cuda() for cloud in clouds]

        def error(clouds: list[Tensor] = clouds, inputs: list[Tensor] = inputs, depth: int = depth) -> float:
            codes = serialization_codes(clouds[0], None, None, depth, list(range(len(CURVES))))
            found = serialize(inputs[0], depth=depth, check=False)
            assert torch.equal(found.codes.cpu(), codes)
            assert torch.equal(found.orders.cpu(), torch.sort(codes, dim=1, stable=True).indices)
            assert torch.equal(found.inverses.cpu(), torch.argsort(found.orders.cpu(), dim=1))
            return 0.0

        yield Case(
            f"{len(CURVES)} codes, orders, inverses, {num_points} points",
            [lambda given=given, depth=depth: serialize(given, depth=depth, check=False) for given in inputs],
            error,
            0.0,
            num_points * (12 + len(CURVES) * 24),
            upstream_ms=UPSTREAM_MS.get(num_points),
            wanted_ms=WANTED_MS.get(num_points),
        )


def grids() -> Iterator[Case]:
    """Which voxels of 2 cm the points of a room lie in, and which points each holds."""
    for num_points in (100_000, 1_000_000):
        rng = np.random.default_rng(num_points)
        clouds = [room(num_points, rng).double() for _ in range(INPUTS)]

        def error(cloud: Tensor = clouds[0]) -> float:
            found, expected = grid_sample(cloud.cuda(), GRID_SIZE_M), grid_sample(cloud, GRID_SIZE_M)
            assert all(torch.equal(vars(found)[name].cpu(), wanted) for name, wanted in vars(expected).items())
            return 0.0

        inputs = [cloud.cuda() for cloud in clouds]
        yield Case(
            f"grid sampling, {num_points} points, with the wait for its size",
            [lambda given=given: grid_sample(given, GRID_SIZE_M) for given in inputs],
            error,
            0.0,
            num_points * (24 + 24 + 8 + 8 + 8),
        )
