import numpy as np
import pytest

from benchmarks.energy import auroc, strangers


def test_auroc_is_the_share_of_pairs():
    known, strange = np.array([1.0, 2, 2, 5]), np.array([2.0, 4, 0])
    pairs = [(a < b) + 0.5 * (a == b) for a in known for b in strange]
    assert auroc(known, strange) == pytest.approx(np.mean(pairs))


def test_strangers_have_finite_points():
    assert all(np.isfinite(xyz).all() and xyz.shape[1] == 3 for xyz in strangers().values())
