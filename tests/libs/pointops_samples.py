"""Goldens, point clouds of all kinds, and comparisons for the tests of pointops."""

from pathlib import Path

import numpy as np
import pointops
import torch
from hypothesis import strategies as st
from point_scenes import scattered
from pointops import reference

GOLDEN = Path(__file__).parents[1] / "golden"
OPERATORS = torch.ops.pointops if pointops.ARCHITECTURES else reference


def golden(case):
    return [
        {key: torch.from_numpy(values) for key, values in np.load(GOLDEN / case / f"{part}.npz").items()}
        for part in ("input", "output")
    ]


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


# side is that of the space: one place, dense, as a room, far apart; lattices have equal distances and duplicates
SCENES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**31),
        "sizes": st.lists(st.integers(0, 120), min_size=1, max_size=5),
        "side": st.sampled_from([0.0, 0.01, 5.0, 1e6]),
        "origin": st.sampled_from([0.0, -5e5]),
        "flat": st.integers(0, 3),
        "lattice": st.booleans(),
        "broken": st.booleans(),
    }
)


def points_of(seed, sizes, side, origin, flat, lattice, broken):
    """Points with duplicates, in space, a plane, a line or one place, with an outlier, with NaN and infinity."""
    rng = np.random.default_rng(seed)
    coords = scattered(rng, sizes, side, origin, flat, lattice)
    if broken and len(coords):
        rows = rng.integers(0, len(coords), 4)
        coords[rows, rng.integers(0, 3, 4)] = [np.nan, np.inf, -np.inf, 3e38]
    return torch.from_numpy(coords.astype("f4")), torch.tensor(sizes).cumsum(0)


def crowded(seed, sizes, places, jitter, alone):
    """Clouds in which all points but a share ``alone`` are at few ``places``, or nearer to them than ``jitter``."""
    rng = np.random.default_rng(seed)
    number = sum(sizes)
    coords = rng.uniform(0, 1, (places, 3))[rng.integers(0, places, number)]
    coords += rng.uniform(0, jitter, coords.shape)
    is_alone = rng.random(number) < alone
    coords[is_alone] = rng.uniform(0, 1, (is_alone.sum(), 3))
    return torch.from_numpy(coords.astype("f4")), torch.tensor(sizes).cumsum(0)
