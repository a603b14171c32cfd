"""The figures of a confusion against plain counting, point by point."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.confusion import Confusion, pooled

NAMES = ("ground", "vegetation", "building")
ROWS = st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 2)), max_size=60)


def of(rows) -> Confusion:
    truth, predicted = np.array(rows, np.int64).reshape(-1, 2).T
    return Confusion.of_rows(NAMES, truth, predicted)


@given(ROWS)
def test_figures_are_those_of_plain_counting(rows):
    found = of(rows)
    judged = [(true, got) for true, got in rows if true >= 0]
    assert found.judged == found.counts.sum() == len(judged)
    assert found.ignored == len(rows) - len(judged)
    ious = []
    for place in range(3):
        true, got = ({i for i, pair in enumerate(judged) if pair[side] == place} for side in (0, 1))
        if not true:
            assert np.isnan([found.iou[place], found.precision[place], found.recall[place], found.f1[place]]).all()
            continue
        ious.append(len(true & got) / len(true | got))
        assert found.iou[place] == pytest.approx(ious[-1])
        assert found.recall[place] == pytest.approx(len(true & got) / len(true))
        assert found.f1[place] == pytest.approx(2 * len(true & got) / (len(true) + len(got)))
        assert got or np.isnan(found.precision[place])
        assert not got or found.precision[place] == pytest.approx(len(true & got) / len(got))
    if judged:
        assert found.mean_iou == pytest.approx(sum(ious) / len(ious))
        assert found.accuracy == pytest.approx(sum(true == got for true, got in judged) / len(judged))
    else:
        assert np.isnan([found.mean_iou, found.accuracy, found.kappa]).all()


def test_kappa_by_hand():
    # 50 points: 20 and 15 agree, 5 and 10 do not; by chance half of them would (Cohen's own way of counting)
    found = Confusion(("yes", "no"), np.array([[20, 5, 0], [10, 15, 0]]))
    assert found.accuracy == pytest.approx(0.7)
    assert found.kappa == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert np.isnan(Confusion(("yes",), np.array([[7, 0]])).kappa)  # chance alone gets all of it right


def test_predictions_of_no_class_are_misses_and_no_hits():
    found = Confusion(("ground",), np.array([[6, 2]]))
    assert (found.iou[0], found.precision[0], found.recall[0]) == (0.75, 1.0, 0.75)


@given(ROWS, ROWS)
def test_points_counted_apart_and_together_are_the_same(first, second):
    together, apart = of(first + second), pooled([of(first), of(second)])
    np.testing.assert_array_equal(together.counts, apart.counts)
    assert together.ignored == apart.ignored


@given(ROWS)
def test_classes_put_together_are_those_of_points_that_were(rows):
    places = [0, 1, 1]
    whole = of([tuple(each if each < 0 else places[each] for each in pair) for pair in rows])
    grouped = of(rows).grouped(("ground", "raised"), places)
    np.testing.assert_array_equal(grouped.counts, whole.counts[:2][:, [0, 1, 3]])


def test_stacked_confusions_have_the_figures_of_each():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, (5, 3, 4))
    counts[2, 1] = 0
    stacked = Confusion(NAMES, counts)
    for name in ("iou", "precision", "recall", "f1", "mean_iou", "accuracy", "kappa"):
        each = np.stack([getattr(Confusion(NAMES, one), name) for one in counts])
        np.testing.assert_array_equal(getattr(stacked, name), each, err_msg=name)


def test_weights_are_summed_and_keep_their_kind():
    rows = np.array([0, 0, 1, -1]), np.array([0, 1, -1, 0])
    points = Confusion.of_rows(NAMES, *rows, np.array([5, 2, 3, 4]))
    assert points.counts.dtype == np.int64
    np.testing.assert_array_equal(points.counts, [[5, 2, 0, 0], [0, 0, 0, 3], [0, 0, 0, 0]])
    assert points.ignored == 4
    areas = Confusion.of_rows(NAMES, *rows, np.array([0.5, 0.25, 1.0, 9.0]))
    assert areas.judged == 1.75
