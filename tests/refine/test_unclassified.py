"""Points whose class is in doubt become unclassified."""

import numpy as np
import pytest
import torch

from app.options import Options
from app.refine.runner import refine
from tests.refine.refine_samples import PLAIN, codes, make_scene

SURE = [0.95, 0.59, 0.61, 0.4]
LABELS = [0, 1, 2, 2]


def entropies():
    shares = make_scene(LABELS, sure=SURE).probabilities.double()
    return -(shares * shares.log()).sum(1)


def test_points_below_a_confidence_become_unclassified():
    scene = make_scene(LABELS, sure=SURE)
    (done,) = refine(scene, Options(min_confidence=0.6))
    assert codes(scene).tolist() == [2, 1, 6, 1]
    assert (done.step, done.changed) == ("unclassified", 2)
    assert not scene.warnings


def test_points_above_an_entropy_become_unclassified():
    scene = make_scene(LABELS, sure=SURE)
    limit = float(entropies()[1]) + 1e-3
    (done,) = refine(scene, Options(max_entropy=limit))
    assert codes(scene).tolist() == [2, 5, 6, 1]
    assert done.changed == 1


def test_models_without_codes_give_the_ignore_label_and_say_so():
    scene = make_scene([*LABELS, -1], sure=[*SURE, 1], classes=PLAIN)
    (done,) = refine(scene, Options(min_confidence=0.6))
    assert scene.answered.tolist() == [0, -1, 2, -1, -1]
    assert done.changed == 2
    assert "ignore label -1" in scene.warnings[0]


def test_context_is_labelled_and_not_counted():
    scene = make_scene(LABELS, sure=SURE, num_context=1)
    (done,) = refine(scene, Options(min_confidence=0.6))
    assert done.changed == 1
    assert scene.answered.tolist() == [0, 1001, 2]
    assert torch.equal(scene.labels, torch.tensor([0, 1001, 2, 1001]))


def test_a_scene_without_points_stays_empty():
    scene = make_scene([-1, -1], np.full((2, 3), np.nan))
    (done,) = refine(scene, Options(min_confidence=0.6, max_entropy=0.1))
    assert (done.changed, scene.answered.tolist()) == (0, [-1, -1])


@pytest.mark.parametrize("options", [Options(min_confidence=0.1), Options(max_entropy=20)])
def test_probabilities_that_are_no_numbers_are_in_doubt(options):
    scene = make_scene([0, 1, 2])
    scene.probabilities = scene.probabilities.index_fill(0, torch.tensor([1]), torch.nan)
    refine(scene, options)
    assert codes(scene).tolist() == [2, 1, 6]
