"""Clouds of all kinds, and exact comparison, for the tests of the point libraries."""

import numpy as np
import torch


def scattered(rng, sizes, side, origin, flat, lattice):
    """float64 (N, 3) points of clouds of ``sizes``, in a space of ``side`` or with ``flat`` constant axes.

    A lattice has equal distances and duplicates.
    """
    coords = origin + rng.uniform(0, side, (sum(sizes), 3))
    if lattice:
        coords = np.round(coords)
    coords[:, :flat] = coords[:1, :flat]
    return coords


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
