"""Neighbour queries and farthest point sampling on a GPU."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pointops
import torch
from gpu_cases.case import Case
from scenes import room
from torch import Tensor

NEIGHBOURS = 16
RADIUS_M = 0.08
INPUTS = 4
KNN_UPSTREAM_MS = {10_000: 1.7, 50_000: 7.0, 100_000: 16.2, 200_000: 40.5}
BALL_UPSTREAM_MS = {10_000: 1.25, 50_000: 4.6, 100_000: 13.0, 200_000: 38.7}
SAMPLING_UPSTREAM_MS = {50_000: 128.0, 200_000: 1888.0}
QUERY_WANTED_MS = {200_000: 1.5}
SAMPLING_WANTED_MS = {200_000: 100.0}


def queries() -> Iterator[Case]:
    """Nearest neighbours, and balls, of every point of a room."""
    for num_points, upstream_ms in KNN_UPSTREAM_MS.items():
        bytes_least = num_points * (12 + 8 * NEIGHBOURS)
        wanted_ms = QUERY_WANTED_MS.get(num_points)

        def nearest(xyz: Tensor, offset: Tensor) -> Tensor:
            return pointops.knn_query(NEIGHBOURS, xyz, offset)[0]

        def ball(xyz: Tensor, offset: Tensor) -> Tensor:
            return pointops.ball_query(NEIGHBOURS, RADIUS_M, 0, xyz, offset)[0]

        yield _case(f"{NEIGHBOURS} nearest", nearest, num_points, bytes_least, upstream_ms, wanted_ms)
        upstream_ms = BALL_UPSTREAM_MS[num_points]
        yield _case(f"ball of {RADIUS_M} m", ball, num_points, bytes_least, upstream_ms, wanted_ms)


def sampling() -> Iterator[Case]:
    """Farthest point sampling of a quarter of the points of a room."""
    for num_points, upstream_ms in SAMPLING_UPSTREAM_MS.items():

        def sample(xyz: Tensor, offset: Tensor) -> Tensor:
            return pointops.farthest_point_sampling(xyz, offset, offset // 4)

        wanted_ms = SAMPLING_WANTED_MS.get(num_points)
        yield _case("farthest quarter", sample, num_points, 13 * num_points, upstream_ms, wanted_ms)


def _case(
    name: str,
    run: Callable[[Tensor, Tensor], Tensor],
    num_points: int,
    bytes_least: float,
    upstream_ms: float,
    wanted_ms: float | None,
) -> Case:
    rng = np.random.default_rng(num_points)
    clouds = [room(num_points, rng) for _ in range(INPUTS)]
    offset = torch.tensor([num_points])

    def error() -> float:
        assert torch.equal(run(clouds[0].cuda(), offset.cuda()).cpu(), run(clouds[0], offset))
        return 0.0

    arguments: list[tuple[Any, Any]] = [(cloud.cuda(), offset.cuda()) for cloud in clouds]
    calls = [lambda xyz=xyz, offset=offset: run(xyz, offset) for xyz, offset in arguments]
    return Case(
        f"{name}, {num_points} points", calls, error, 0.0, bytes_least, upstream_ms=upstream_ms, wanted_ms=wanted_ms
    )
