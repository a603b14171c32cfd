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
    """For each of N true points the row of the predicted one at its place, int64 (N,), and how many points share
    their place with others.

    Points at one place are matched in the order that they have in their files.

    Raises:
        BadCloud: some point has no partner within a millimetre.
    """
    finite = [np.isfinite(each).all(1) for each in (predicted_m, truth_m)]
    places, place_of_truth, sizes = np.unique(truth_m[finite[1]], axis=0, return_inverse=True, return_counts=True)
    rows = np.full(len(truth_m), -1, np.int64)
    if len(places) and finite[0].any():
        away, place_of_predicted = cKDTree(places).query(predicted_m[finite[0]], distance_upper_bound=SAME_M)
        found = np.isfinite(away)
        keys = [np.where(found, place_of_predicted, len(places)), place_of_truth.reshape(-1)]
        ranked = [_ranked(key) for key in keys]
        (order, rank), (true_order, true_rank) = ranked
        wanted = _combined(keys[1][true_order], true_rank)
        given = _combined(keys[0][order], rank)
        at = np.minimum(np.searchsorted(given, wanted), len(given) - 1)
        hit = given[at] == wanted
        true_rows = np.flatnonzero(finite[1])[true_order]
        rows[true_rows[hit]] = np.flatnonzero(finite[0])[order][at[hit]]
    rest = [np.flatnonzero(~each) for each in finite]
    common = min(map(len, rest))
    rows[rest[1][:common]] = rest[0][:common]
    lost = np.count_nonzero(rows < 0)
    if lost:
        raise BadCloud(
            f"{lost:,} of {len(truth_m):,} points of TRUTH lie where PRED has none, within {1000 * SAME_M:g} mm: these "
            "are not the same points, or one was moved or converted."
        )
    return rows, int(sizes[sizes > 1].sum())


def _ranked(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows by ``keys`` (N,), in their order where keys are equal, and the rank of each among those of its key."""
    order = np.argsort(keys, kind="stable")
    ascending = keys[order]
    begins = np.flatnonzero(np.diff(ascending, prepend=-1))
    return order, np.arange(len(keys)) - np.repeat(begins, np.diff(begins, append=len(keys)))


def _combined(keys: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    return (keys.astype(np.int64) << 32) | ranks
