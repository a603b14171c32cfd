"""What steps are given: points in metres, labels, what they mean, and the file's own columns."""

import numpy as np
import torch

from tests.refine.refine_samples import codes, make_scene


def test_points_are_in_metres_and_tiles_share_a_grid():
    scene = make_scene([0, 0], [[1030, 2050, 10], [1034, 2055, 11]], metres=(2, 1, 0.5))
    np.testing.assert_array_equal(scene.xyz, [[2060 - 2048, 2, 5], [2068 - 2048, 7, 5.5]])
    assert scene.xyz.dtype == torch.float32
    tile = make_scene([0], [[700, 1025, -3]])
    whole = make_scene([0, 0], [[700, 1025, -3], [5000, 1, -3]])
    np.testing.assert_array_equal((tile.xyz[0] - whole.xyz[0]) % 1024, np.zeros(3))


def test_points_that_are_not_usable_are_left_out_and_ignored():
    scene = make_scene([0, -1, 2], [[0, 0, 0], [np.nan, 0, 0], [1, 1, 1]], classification=[2, 3, 6])
    assert (len(scene), scene.places.tolist()) == (2, [0, 2])
    assert scene.labels.tolist() == [0, 2]
    assert scene.answered.tolist() == [0, -1, 2]
    assert scene.answered_column("classification").tolist() == [2, 3, 6]
    assert scene.answered_column("ring") is None
    scene.labels = torch.tensor([1, 0])
    assert scene.answered.tolist() == [1, -1, 0]


def test_labels_mean_codes_also_those_that_a_step_adds():
    scene = make_scene([0, 1, 2, 1])
    noise = scene.classes.id_of(7)
    assert scene.classes.id_of(6) == 2
    scene.labels = torch.tensor([0, noise, 2, 1])
    assert codes(scene).tolist() == [2, 7, 6, 5]
    assert scene.means(7, 5).tolist() == [False, True, False, True]
    assert [(info.id, info.asprs, info.name) for info in scene.classes.added] == [(noise, 7, "low noise")]
    assert scene.classes.ids_of(6, 7) == [2, noise]


def test_new_predictions_label_every_point():
    scene = make_scene([0, 1, -1, 2])
    scene.predict(scene.probabilities.flip(1))
    assert scene.answered.tolist() == [2, 1, -1, 0]


def test_rows_know_their_first_point():
    scene = make_scene([0, 1, 2, 0])
    scene.rows = torch.tensor([2, 0, 2, 0])
    assert scene.row_points.tolist() == [1, 4, 0, 4]
