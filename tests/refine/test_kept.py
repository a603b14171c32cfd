"""Points that keep the class of the file."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.clouds.area import NONE_WITHIN
from app.errors import BadRequest
from app.options import Options
from app.refine.runner import refine
from tests.refine.refine_samples import make_scene

codes_of_points = st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 255)), min_size=1, max_size=30)
some_codes = st.lists(st.integers(0, 255), max_size=5)


def codes(scene):
    """What a LAS file would get."""
    meaning = {info.id: info.asprs for info in scene.classes.infos} | {-1: 1}
    return np.array([meaning[label] for label in scene.answered.tolist()])


@settings(max_examples=100, deadline=None)
@given(codes_of_points, some_codes, some_codes)
def test_a_kept_point_never_changes_and_others_never_keep(points, preserve, only):
    labels, own = map(np.array, zip(*points, strict=True))
    options = Options(preserve=tuple(preserve), only=tuple(only), min_confidence=0.95)
    scene = make_scene(labels, classification=own)
    plain = make_scene(labels, classification=own)
    refine(plain, Options(min_confidence=0.95))
    *_, last = refine(scene, options)
    is_kept = np.isin(own, preserve) | (~np.isin(own, only) if only else False)
    np.testing.assert_array_equal(codes(scene), np.where(is_kept, own, codes(plain)))
    if preserve or only:
        assert last.step == "kept"
        assert last.changed <= np.count_nonzero(is_kept)


@settings(max_examples=50, deadline=None)
@given(codes_of_points, some_codes, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(points, preserve, random):
    labels, own = map(np.array, zip(*points, strict=True))
    order = list(range(len(points)))
    random.shuffle(order)
    options = Options(preserve=tuple(preserve), max_entropy=0.5)
    scene, shuffled = (make_scene(labels[rows], classification=own[rows]) for rows in (slice(None), order))
    assert refine(scene, options) == refine(shuffled, options)
    np.testing.assert_array_equal(codes(scene)[order], codes(shuffled))


def test_refining_what_was_refined_changes_nothing():
    labels, own = [0, 1, 2, 0, 1], np.array([9, 2, 6, 1, 17])
    options = Options(preserve=(9, 17), only=(1, 9))
    first = make_scene(labels, classification=own)
    refine(first, options)
    again = make_scene(labels, classification=codes(first))
    refine(again, options)
    np.testing.assert_array_equal(codes(again), codes(first))


def test_flagged_points_keep_their_class():
    scene = make_scene([0, 1, 2, 0], classification=[2, 9, 17, 12], withheld=[0, 1, 0, 0], synthetic=[0, 0, 1, 0])
    refine(scene, Options(preserve_flags=("withheld",)))
    assert codes(scene).tolist() == [2, 9, 6, 2]
    refine(scene, Options(preserve_flags=("withheld", "synthetic", "key_point", "overlap")))
    assert codes(scene).tolist() == [2, 9, 17, 12]  # the last is overlap by its class, as below point format 6
    assert scene.warnings == ["preserve_flags=key_point changes nothing: no point of the file has this flag."]


def test_points_outside_an_area_keep_their_class_in_the_coordinates_of_the_file():
    scene = make_scene(
        [0, 1, 2, -1], [[1, 1, 0], [9, 1, 0], [2, 2, 0], [9, 9, np.nan]], classification=[9, 9, 9, 7], metres=(7, 7, 7)
    )
    (done,) = refine(scene, Options(within="0,0,5,5"))
    assert codes(scene).tolist() == [2, 9, 6, 7]
    assert done.changed == 2
    assert scene.warnings == []
    refine(scene, Options(within="20,20,25,25"))
    assert scene.warnings == [NONE_WITHIN]


def test_context_keeps_its_prediction():
    scene = make_scene([0, 1, 2], classification=[9, 9, 9], num_context=1)
    refine(scene, Options(preserve=(9,)))
    assert scene.answered.tolist() == [1009, 1009]
    assert scene.whole[2] == 2


def test_a_class_of_the_model_that_has_the_code_is_taken():
    scene = make_scene([1, 1], classification=[6, 2])
    refine(scene, Options(preserve=(2, 6)))
    assert scene.answered.tolist() == [2, 0]
    assert scene.classes.added == []


@pytest.mark.parametrize(("own", "words"), [(None, "no column classification"), ([2, 300], "holds 2 to 300")])
def test_files_without_codes_are_refused(own, words):
    scene = make_scene([0, 1], **({} if own is None else {"classification": own}))
    with pytest.raises(BadRequest, match=words):
        refine(scene, Options(only=(1,)))


def test_codes_that_are_numbers_of_any_type_are_read():
    scene = make_scene([0, 1], classification=np.array([6.0, 2.0], np.float32))
    refine(scene, Options(preserve=(6,)))
    assert torch.equal(scene.answered, torch.tensor([2, 1]))
