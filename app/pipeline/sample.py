"""A sample: the dict of tensors that transforms change, under Pointcept's names."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Sample = dict[str, Any]
"""``coord`` (N, 3), ``color`` (N, 3), ``normal`` (N, 3), ``strength`` (N, 1) and further columns (N, C), float32 until
a transform makes them float64; ``grid_coord`` int64 (N, 3); ``inverse`` int64 (M,), the row of each of M earlier
points, and ``noise`` bool (M,), which of them were left out as noise; ``frame`` (8, 3), corners as in
``app.pipeline.frame``, if the cloud is a part of a survey. All are on one device."""

NOT_PER_POINT = frozenset({"inverse", "noise", "frame"})


def per_point(sample: Sample) -> list[str]:
    """Names of the entries that hold one row a point."""
    num_points = len(sample["coord"])
    return [
        key
        for key, value in sample.items()
        if isinstance(value, Tensor) and value.ndim and len(value) == num_points and key not in NOT_PER_POINT
    ]


def take(sample: Sample, rows: Tensor) -> Sample:
    """A new sample of the points ``rows`` int64 (R,); other entries are shared."""
    return sample | {key: sample[key].index_select(0, rows) for key in per_point(sample)}


def box(sample: Sample) -> tuple[Tensor, Tensor]:
    """The lowest and the highest corner, each (3,), of the frame, or of the box around the points if there is none."""
    low, high = torch.aminmax(sample["frame" if "frame" in sample else "coord"], dim=0)
    return low, high


def moved(sample: Sample, move: Callable[[Tensor], Tensor]) -> Sample:
    """A new sample with points and frame where ``move`` takes them."""
    return sample | {key: move(sample[key]) for key in ("coord", "frame") if key in sample}
