"""Codes of the model's classes, as a request says them."""

import pytest

from app.errors import BadRequest
from app.options import Options
from app.refine.check import check
from app.refine.legend import Legend, codes_of
from app.refine.runner import refine
from tests.refine.refine_samples import AERIAL, PLAIN, codes, make_scene


def mapped(labels, classes, *stated, **columns):
    scene = make_scene(labels, classes=classes, **columns)
    scene.classes = Legend(classes, codes_of(stated, classes))
    return scene


def test_classes_are_named_or_numbered():
    assert codes_of(("Ground:11", "2:17"), AERIAL) == {0: 11, 2: 17}
    with pytest.raises(BadRequest, match="names 'wire', which the model does not have; it has 'ground', 'vegetation'"):
        codes_of(("wire:14",), AERIAL)


def test_codes_are_given_last_and_counted():
    scene = mapped([0, 1, 1, 2], AERIAL, "vegetation:64", "building:6")
    assert scene.means(5).tolist() == [False, True, True, False]
    (done,) = refine(scene, Options(classes=("vegetation:64", "building:6")))
    assert codes(scene).tolist() == [2, 64, 64, 6]
    assert (done.step, done.changed) == ("classes", 2)
    assert scene.answered.tolist() == [0, 1, 1, 2]


def test_classes_without_codes_mean_them_from_the_beginning():
    stated = ("ground:2", "vegetation:5", "building:6")
    options = Options(classes=stated, min_confidence=0.5, preserve=(9,))
    check(options, PLAIN, -1, "m")
    scene = mapped([0, 1, 2, 2], PLAIN, *stated, sure=[0.9, 0.9, 0.9, 0.4], classification=[9, 1, 1, 1])
    assert scene.means(2).tolist() == [True, False, False, False]
    refine(scene, options)
    assert codes(scene).tolist() == [9, 5, 6, 1]


def test_a_step_that_needs_codes_says_for_which_classes():
    with pytest.raises(BadRequest) as caught:
        check(Options(classes=("ground:2",), preserve=(9,)), PLAIN, -1, "m")
    assert "'vegetation', 'building'" in caught.value.detail
    assert "classes=NAME:CODE" in caught.value.detail
