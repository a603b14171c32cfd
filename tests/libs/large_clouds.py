"""Clouds of up to 300,000 points, and what is known of them at that size, for the property tests of the libraries."""

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from point_scenes import assert_same, scattered
from scipy.spatial import cKDTree

MOST = 300_000
NUMBERS = st.sampled_from([0, 1, 3_000, 40_000, MOST])
SHARES = st.sampled_from([[1], [0, 1, 0], [1, 0, 3, 2], [1, 2] * 300])
few_examples = settings(max_examples=3, deadline=None)

# about one point in a unit of the space, plane or line; a lattice has equal distances and duplicates
LARGE = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**31),
        "number": NUMBERS,
        "shares": SHARES,
        "origin": st.sampled_from([0.0, -5e5]),
        "flat": st.integers(0, 2),
        "lattice": st.booleans(),
        "broken": st.booleans(),
    }
)
WHOLE = {
    "seed": 0,
    "number": MOST,
    "shares": [1, 0, 3],
    "origin": 0.0,
    "flat": 0,
    "lattice": False,
    "broken": True,
}
LATTICE = WHOLE | {"number": 40_000, "lattice": True, "flat": 1, "broken": False}


def sizes_of(number, shares):
    """``number`` points as clouds by their ``shares``; a share of 0 is a cloud without points."""
    return np.diff(np.cumsum(shares) * number // sum(shares), prepend=0).tolist()


def points_of(seed, number, shares, origin, flat, lattice, broken):
    """float32 (N, 3) points and the sizes of their clouds; up to 1200 points stand in one place, some far off."""
    rng = np.random.default_rng(seed)
    sizes = sizes_of(number, shares)
    coords = scattered(rng, sizes, number ** (1 / (3 - flat)), origin, flat, lattice)
    if number:
        coords[rng.integers(0, number, min(number // 4, 1200))] = coords[0]
    if number and broken:
        coords[rng.integers(0, number, 5), rng.integers(0, 3, 5)] = [np.nan, np.inf, -np.inf, 1e6, -1e6]
    return torch.from_numpy(coords.astype("f4")), sizes


def by_any_threads(run):
    """The tensors that ``run`` returns, the same by one thread and by three."""
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(run())
    finally:
        torch.set_num_threads(before)
    assert_same(*results)
    return results[0]


def some_rows(offset, number):
    """Ascending rows drawn from all, and where in them each cloud ends."""
    rows = torch.randperm(int(offset[-1]), generator=torch.Generator().manual_seed(0))[:number].sort().values
    return rows, torch.searchsorted(rows, offset)


def pairs_within(coords, sizes, radius):
    """Query, neighbour and squared distance of all pairs of one cloud, ascending, by a tree; a point is its own.

    The distance is that of float32, summed as the operators do.
    """
    found = [np.zeros((0, 2), dtype=np.int64)]
    rows = np.arange(len(coords))
    for cloud in np.split(rows, np.cumsum(sizes)[:-1]):
        cloud = cloud[coords[cloud].isfinite().all(1).numpy()]
        if len(cloud):
            pairs = cKDTree(coords[cloud].double().numpy()).query_pairs(radius * (1 + 1e-6), output_type="ndarray")
            found += [cloud[pairs], cloud[pairs[:, ::-1]], np.stack([cloud, cloud], 1)]
    query, point = torch.from_numpy(np.concatenate(found)).unbind(1)
    keys = (query * max(len(coords), 1) + point).sort().values
    query, point = keys // max(len(coords), 1), keys % max(len(coords), 1)
    distance2 = squared_distances(coords[query], coords[point])
    near = distance2 < torch.tensor(radius, dtype=torch.float32).square()
    return query[near], point[near], distance2[near]


def squared_distances(one, other):
    """float32 (N,), summed in the order x, y, z."""
    x, y, z = (one - other).square().unbind(1)
    return x + y + z


def nearest_distances(coords, sizes, rows, row_sizes, k):
    """float64 (R, k) distances from ``rows`` to the nearest of their cloud by a tree, 1e5 where there are none."""
    distances = [np.zeros((0, k))]
    for cloud, queries in zip(coords.split(sizes), coords[rows].split(row_sizes), strict=True):
        found = np.full((len(queries), k), np.inf)
        cloud, known = cloud[cloud.isfinite().all(1)].double().numpy(), queries.isfinite().all(1).numpy()
        if len(cloud) and len(queries):
            found[known] = cKDTree(cloud).query(queries.double().numpy()[known], range(1, k + 1))[0]
        distances.append(found)
    return torch.from_numpy(np.concatenate(distances)).nan_to_num(posinf=1e5)
