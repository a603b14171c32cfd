import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BadCloud
from app.evaluate.matching import SAME_M, by_place, matched, same_order

POINTS = st.lists(st.tuples(*[st.integers(-20, 20)] * 3), min_size=1, max_size=40)


@settings(deadline=None)
@given(POINTS, st.randoms(use_true_random=False))
def test_points_in_another_order_find_their_partners(points, random):
    truth = np.array(points, float) + 6_500_000
    order = random.sample(range(len(points)), len(points))
    for predicted in (truth[order], truth[order] + 1e-9):
        rows, num_lost, is_shared = by_place(predicted, truth, SAME_M)
        assert sorted(rows) == list(range(len(points)))
        assert np.abs(predicted[rows] - truth).max() < 1e-3
        assert num_lost == 0
        assert is_shared == (len(set(points)) < len(points))


def test_points_at_one_place_keep_their_order():
    truth = np.array([[1, 1, 1], [0, 0, 0], [1, 1, 1], [1, 1, 1.0]])
    rows, notes = matched(truth[[1, 0, 2, 3]], truth)
    assert rows.tolist() == [1, 0, 2, 3]
    assert "order of their files" in notes[-1]


def test_points_without_coordinates_are_matched_in_their_order():
    truth = np.array([[np.nan, 0, 0], [2, 2, 2], [1, 1, 1.0], [np.inf, 1, 1]])
    rows, notes = matched(truth[[2, 0, 1, 3]], truth)
    assert rows.tolist() == [1, 2, 0, 3]
    assert "without coordinates" in notes[-1]


def test_points_that_were_rounded_are_matched_and_the_answer_says_so():
    truth = np.random.default_rng(0).uniform(0, 99, (50, 3)).round(2)
    rows, notes = matched(truth + 0.005, truth)
    assert rows is None
    assert "up to 1 cm" in notes[0]
    order = np.random.default_rng(1).permutation(50)
    rows, notes = matched(truth[order] + 0.005, truth)
    assert order[rows].tolist() == list(range(50))
    assert len(notes) == 2
    assert matched(truth, truth) == (None, ())


def test_a_point_that_is_not_there_is_told():
    truth = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0.0]])
    moved = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0.5]])
    with pytest.raises(BadCloud, match="1 of 3 points of TRUTH lie where PRED has none"):
        matched(moved, truth)
    assert not same_order(moved, truth)
    assert same_order(truth + 1e-5, truth)
    assert same_order(np.array([[np.nan, 1, 1]]), np.array([[np.nan, 1, 1]]))
