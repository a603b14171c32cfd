"""Points of two clouds that are the same point."""

import numpy as np
from scipy.spatial import cKDTree

from app.errors import BadCloud

SAME_M = 1e-3
ROUNDED_M = 1e-2  # that is how far programs move points which write them with another scale or offset


def matched(predicted_m: np.ndarray, truth_m: np.ndarray) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """For each of N true points the row of the one of N predicted points at its place, int64 (N,), None if that is its
    own row; and what is to be said of it, one sentence each.

    A place is the same within ``SAME_M``; within ``ROUNDED_M`` if some point has no partner then.

    Raises:
        BadCloud: some point has none within ``ROUNDED_M`` either.
    """
    for same_m in (SAME_M, ROUNDED_M):
        notes = (f"Points lie up to {100 * same_m:g} cm from their partners, by rounding.",) * (same_m != SAME_M)
        if same_order(predicted_m, truth_m, same_m):
            return None, notes
        rows, num_lost, is_shared = by_place(predicted_m, truth_m, same_m)
        if not num_lost:
            notes += ("Points were matched by coordinate, because their order differs.",)
            if is_shared:
                notes += ("Points at one place, or without coordinates, were matched in the order of their files.",)
            return rows, notes
    raise BadCloud(
        f"{num_lost:,} of {len(truth_m):,} points of TRUTH lie where PRED has none, within {100 * same_m:g} cm: these "
        "are not the same points, or one was moved, converted or rounded. If they are in the same order, give PRED as "
        "an NPY of its labels alone."
    )


def same_order(predicted_m: np.ndarray, truth_m: np.ndarray, same_m: float = SAME_M) -> bool:
    """Whether row i of both, float64 (N, 3), is one point for every i: less than ``same_m`` apart, or not finite."""
    with np.errstate(invalid="ignore"):
        return not any((np.abs(predicted_m[:, axis] - truth_m[:, axis]) >= same_m).any() for axis in range(3))


def by_place(predicted_m: np.ndarray, truth_m: np.ndarray, same_m: float) -> tuple[np.ndarray, int, bool]:
    """For each of N true points the row of the one of N predicted points within ``same_m``, int64 (N,); how many have
    none; whether some points share their place, or have no coordinates: these are matched in the order of their files.
    """
    order, num_finite = _ascending(truth_m)
    given, num_given = _ascending(predicted_m)
    ascending = truth_m[order[:num_finite]]
    is_new = np.ones(num_finite, bool)
    is_new[1:] = (ascending[1:] != ascending[:-1]).any(1)
    num_lost = 0
    if num_given != num_finite or (predicted_m[given[:num_given]] != ascending).any():
        places, sizes = ascending[is_new], np.bincount(np.cumsum(is_new) - 1)
        given, num_lost = _nearest(predicted_m, places, np.append(sizes, [0, len(truth_m) - num_finite]), same_m)
    rows = np.empty(len(truth_m), np.int64)
    rows[order] = given
    return rows, num_lost, num_finite < len(truth_m) or not is_new.all()


def _ascending(xyz: np.ndarray) -> tuple[np.ndarray, int]:
    """The rows of points (N, 3) by their coordinates, those without finite ones last, and how many of them are finite;
    points at one place keep their order."""
    is_finite = np.isfinite(xyz).all(1)
    finite = np.flatnonzero(is_finite)
    return np.concatenate([finite[np.lexsort(xyz[finite].T)], np.flatnonzero(~is_finite)]), len(finite)


def _nearest(xyz: np.ndarray, places: np.ndarray, sizes: np.ndarray, same_m: float) -> tuple[np.ndarray, int]:
    """The rows of points (N, 3) by the one of ``places`` (P, 3) that they lie at within ``same_m``, then those at none,
    then those without coordinates; and how many fewer points there are than ``sizes`` (P + 2,) says for each."""
    finite = np.isfinite(xyz).all(1)
    place = np.full(len(xyz), len(places) + 1)
    if len(places) and finite.any():
        place[finite] = cKDTree(places).query(xyz[finite], distance_upper_bound=same_m)[1]
    num_found = np.bincount(place, minlength=len(sizes))
    return np.argsort(place, kind="stable"), int(np.maximum(sizes - num_found, 0).sum())
