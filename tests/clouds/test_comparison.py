import numpy as np
import pytest

from app.clouds import asprs
from app.clouds.cloud import ClassInfo
from app.clouds.comparison import Comparison
from app.confusion import Confusion, pooled
from app.errors import BadRequest
from app.evaluate.scheme import Scheme

GREY = (128, 128, 128)
CLASSES = [
    ClassInfo(0, "ground", GREY, 2),
    ClassInfo(1, "trees", GREY, 5),
    ClassInfo(2, "building", GREY, 6),
    ClassInfo(3, "roof clutter", GREY, 6),
    ClassInfo(4, "car", GREY),
]


def scored(truth, labels, classes=CLASSES) -> Confusion:
    return Comparison.of_model(classes, "m").confusion(np.array(truth), np.array(labels, np.int32))


def test_iou_by_hand():
    result = scored([2, 2, 2, 6, 6, 5], [0, 0, 2, 2, 0, 1])
    assert Comparison.of_model(CLASSES).codes == ((2,), (5,), (6,))
    np.testing.assert_allclose(result.iou, [2 / 4, 1, 1 / 3])
    assert result.mean_iou == pytest.approx((0.5 + 1 + 1 / 3) / 3)
    assert result.ignored == 0
    np.testing.assert_array_equal(result.counts, [[2, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0]])


def test_classes_of_one_code_count_as_one():
    result = scored([6, 6], [2, 3])
    assert result.names == ("ground", "trees", "building + roof clutter")
    assert result.iou[2] == 1


def test_codes_that_stand_in():
    result = scored([3, 4, 5, 8, 11], [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(result.iou, [1, 1, np.nan])


def test_ignored_codes_do_not_count():
    result = scored([1, 7, 18, 0, 64, 300, 2], [2, 2, 2, 2, 2, 2, 0])
    assert result.ignored == 6
    np.testing.assert_array_equal(result.iou, [1, np.nan, np.nan])


def test_truth_from_a_table_may_hold_what_is_no_code():
    result = scored([2.0, np.nan, 2.5, -1.0], [0, 0, 0, 0])
    assert result.ignored == 3
    assert result.iou[0] == 1


def test_predictions_without_a_code_are_misses():
    result = scored([2, 2, 2, 2], [0, 4, -1, 0])
    assert result.iou[0] == 0.5
    assert result.counts[0, -1] == 2


def test_truth_without_any_class():
    result = scored([1, 1], [0, 0])
    assert np.isnan(result.iou).all()
    assert np.isnan(result.mean_iou)


def test_a_model_without_codes_is_refused():
    with pytest.raises(BadRequest, match="indoor"):
        Comparison.of_model([ClassInfo(0, "wall", GREY)], "indoor")


def test_all_vegetation_as_one_class():
    classes = [ClassInfo(0, "ground", GREY, 2), ClassInfo(1, "low", GREY, 3), ClassInfo(2, "high", GREY, 5)]
    comparison = Comparison.of_model(classes)
    truth, labels = np.array([2, 3, 3, 5, 5, 5]), np.array([0, 2, 1, 1, 0, -1], np.int32)
    result = comparison.confusion(truth, labels)
    np.testing.assert_allclose(result.iou, [1 / 2, 1 / 3, 0])
    merged, confusion = comparison.vegetation_as_one(result)
    assert merged.codes == ((2,), (3, 5))
    assert confusion.names == merged.names == ("ground", "vegetation")
    np.testing.assert_array_equal(confusion.counts, [[1, 0, 0], [1, 3, 1]])
    np.testing.assert_allclose(confusion.iou, [1 / 2, 3 / 5])
    np.testing.assert_array_equal(merged.confusion(truth, labels).counts, confusion.counts)
    assert Comparison.of_model(CLASSES).vegetation_as_one(scored([2], [0])) is None


def test_ids_of_classes_are_compared_with_ids():
    result = Comparison.of_ids(CLASSES).confusion(np.array([0, 4, 4, -1, 9]), np.array([0, 4, 1, 0, 0]))
    assert result.names[4] == "car"
    np.testing.assert_array_equal(result.iou, [1, np.nan, np.nan, np.nan, 0.5])
    assert result.ignored == 2


def test_codes_far_apart_are_compared_as_near_ones_are():
    comparison = Comparison(("a", "b"), ((0,), (1 << 20,)), {0: 0, 1 << 20: 1}, {0: 0, 1 << 20: 1})
    codes = np.array([0, 1 << 20, 5, 1 << 20])
    np.testing.assert_array_equal(comparison.confusion(codes, codes).counts, [[1, 0, 0], [0, 2, 0]])


def test_points_of_several_files_are_pooled():
    parts = scored([2, 2, 1], [0, 2, 0]), scored([6, 2], [2, 0])
    together = pooled(parts)
    np.testing.assert_allclose(together.iou, [2 / 3, np.nan, 1 / 2])
    assert together.ignored == 1


def test_what_refinement_gives_or_keeps_counts_as_an_evaluation_of_the_file_counts_it():
    classes = [*CLASSES[:4], *(asprs.class_of(code) for code in (1, 7, 64))]
    truth = np.array([2, 2, 2, 5, 5, 6, 64, 64, 64, 7, 1])
    labels = np.array([0, 0, 1001, 1, 1007, 2, 1064, 1064, 0, 1007, 1001])
    ours = scored(truth, labels, classes)
    codes = asprs.codes_of(labels, classes)
    judged = np.isin(truth, [*Scheme().judged("a.laz", {*truth.tolist()})])
    theirs = Scheme().comparison({*truth[judged].tolist()}, {*codes.tolist()})
    found = theirs.confusion(truth[judged], codes[judged])
    assert theirs.codes == Comparison.of_model(classes).codes
    np.testing.assert_array_equal(ours.counts, found.counts)
    np.testing.assert_array_equal(ours.counts[:, -1], [1, 1, 0, 0])
    assert ours.names[-1] == theirs.names[-1] == "user-defined 64"
    np.testing.assert_allclose(ours.iou, [2 / 4, 1 / 2, 1, 2 / 3])


def test_labels_of_no_class_alone_cannot_be_compared():
    with pytest.raises(BadRequest, match="no ASPRS codes"):
        Comparison.of_model([ClassInfo(0, "wall", GREY), asprs.class_of(1)])
