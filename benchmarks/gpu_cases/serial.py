"""Orders along the four space-filling curves on a GPU."""

from collections.abc import Iterator

import torch
from gpu_cases.case import Case
from sparseops import CURVES, serialize
from sparseops.reference_serial import serialization_codes
from torch import Tensor

INPUTS = 4
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
