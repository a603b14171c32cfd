"""A sample: the dict of arrays that transforms change, under Pointcept's names."""

from typing import Any

import numpy as np

Sample = dict[str, Any]
"""``coord`` (N, 3), ``color`` (N, 3), ``normal`` (N, 3), ``strength`` (N, 1) and further columns (N, C), float32 until
a transform makes them float64; ``grid_coord`` int (N, 3); ``inverse`` (M,), the row of each of M earlier points."""

NOT_PER_POINT = frozenset({"inverse"})


def per_point(sample: Sample) -> list[str]:
    """Names of the entries that hold one row a point."""
    num_points = len(sample["coord"])
    return [
        key
        for key, value in sample.items()
        if isinstance(value, np.ndarray) and value.ndim and len(value) == num_points and key not in NOT_PER_POINT
    ]


def take(sample: Sample, rows: np.ndarray) -> Sample:
    """A new sample of the points ``rows`` (indices or mask); other entries are shared."""
    chosen = np.flatnonzero(rows) if rows.dtype == bool else rows
    return sample | {key: np.take(sample[key], chosen, axis=0) for key in per_point(sample)}
