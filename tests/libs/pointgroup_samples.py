"""Points for the operators of instances, and what upstream made of some."""

from pathlib import Path

import numpy as np
import torch
from point_scenes import scattered

GOLDEN = Path(__file__).parents[1] / "golden/op_ballquery_bfs_cluster"
RADIUS, MEAN_ACTIVE, THRESHOLD = 0.55, 4, 3


def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def clouds_of(sizes):
    """``batch_idxs`` and ``batch_offsets`` of clouds of ``sizes`` points."""
    batch_idxs = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.int64)).int()
    return batch_idxs, torch.tensor([0, *np.cumsum(sizes)], dtype=torch.int32)


def points_of(seed, sizes, side, origin, flat, lattice, broken):
    """Points with duplicates, in space or with ``flat`` constant axes, with equal distances, NaN."""
    rng = np.random.default_rng(seed)
    coords = scattered(rng, sizes, side, origin, flat, lattice)
    if len(coords):
        coords[rng.integers(0, len(coords), len(coords) // 4)] = coords[0]
    if broken:
        coords[rng.random(coords.shape) < 0.03] = rng.choice([np.nan, np.inf, -np.inf])
    return torch.from_numpy(coords.astype(np.float32))
