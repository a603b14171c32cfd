"""What cannot be refined is refused with words, before any work."""

from dataclasses import replace

import pytest

from app.errors import BadRequest
from app.options import Options
from app.refine.check import check
from app.refine.steps import STEPS, wanted
from tests.refine.refine_samples import AERIAL


def test_without_an_option_there_is_no_step():
    assert wanted(Options()) == []
    check(Options(), [], -1, "m")


def test_every_step_has_a_module_and_is_asked_for_by_options():
    for step in STEPS:
        assert callable(step.load())
        assert step.description.endswith(".")
        assert all(hasattr(Options(), name) for name in step.options)
    assert len({step.name for step in STEPS}) == len(STEPS)


@pytest.mark.parametrize(
    ("classes", "ignore_label", "words"),
    [([], -1, "no classes"), (AERIAL, 1000, "ids of 1000"), ([replace(AERIAL[0], id=1002)], -1, "ids of 1000")],
)
def test_models_that_cannot_be_refined_are_refused(classes, ignore_label, words):
    with pytest.raises(BadRequest, match=words) as caught:
        check(Options(min_confidence=0.5), classes, ignore_label, "m")
    assert "leave min_confidence out" in caught.value.detail
