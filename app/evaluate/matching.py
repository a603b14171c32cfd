"""Points of two clouds that are the same point."""

import numpy as np
from scipy.spatial import cKDTree

from app.errors import BadCloud

SAME_M = 1e-3


def same_order(predicted_m: np.ndarray, truth_m: np.ndarray) -> bool:
    """Whether row i of both, float64 (N, 3), is one point for every i: less than a millimetre apart, or not finite."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(predicted_m - truth_m) >= SAME_M
    return not apart.any()


def matched(predicted_m: np.ndarray, truth_m: np.ndarray) -> tuple[np.ndarray, int]:
    """For each of N true points the row of the one of N predicted points at its place, int64 (N,), and how many points
    share their place with others.

    Points at one place are matched in the order that they have in their files; so are those without coordinates.

    Raises:
        BadCloud: some point has no partner within a millimetre.
    """
    places, true_place = _distinct(truth_m)
    place = np.full(len(predicted_m), len(places))
    finite = np.isfinite(predicted_m).all(1)
    if len(places) and finite.any():
        place[finite] = cKDTree(places).query(predicted_m[finite], distance_upper_bound=SAME_M)[1]
    place[~finite] = len(places) + 1
    sizes, given = (np.bincount(each, minlength=len(places) + 2) for each in (true_place, place))
    lost = int(np.maximum(sizes - given, 0).sum())
    if lost:
        raise BadCloud(
            f"{lost:,} of {len(truth_m):,} points of TRUTH lie where PRED has none, within {1000 * SAME_M:g} mm: these "
            "are not the same points, or one was moved or converted."
        )
    rows = np.empty(len(truth_m), np.int64)
    rows[np.argsort(true_place, kind="stable")] = np.argsort(place, kind="stable")
    shared = sizes[: len(places)]
    return rows, int(shared[shared > 1].sum())


def _distinct(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The finite places (P, 3) that occur among ``xyz`` (N, 3), and that of each point, int64 (N,): P + 1 for none."""
    finite = np.flatnonzero(np.isfinite(xyz).all(1))
    order = finite[np.lexsort(xyz[finite].T)]
    ascending = xyz[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (ascending[1:] != ascending[:-1]).any(1)
    place = np.full(len(xyz), np.count_nonzero(is_new) + 1)
    place[order] = np.cumsum(is_new) - 1
    return ascending[is_new], place
