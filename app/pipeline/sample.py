"""A sample: the dict of tensors that transforms change, under Pointcept's names."""

from typing import Any

from torch import Tensor

Sample = dict[str, Any]
"""``coord`` (N, 3), ``color`` (N, 3), ``normal`` (N, 3), ``strength`` (N, 1) and further columns (N, C), float32 until
a transform makes them float64; ``grid_coord`` int64 (N, 3); ``inverse`` int64 (M,), the row of each of M earlier
points. All are on one device."""

NOT_PER_POINT = frozenset({"inverse"})


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
