"""Vegetation is low, medium or high by its height above ground."""

import numpy as np

from app.options import Options
from app.refine.runner import refine
from app.sample.tile import make_tile
from tests.refine.refine_samples import AERIAL, codes, make_scene


def test_vegetation_gets_the_code_of_its_layer():
    heights = [0, 0, 0.2, 0.5, 1.9, 2.1, 30, 5, 9]
    xyz = np.column_stack([np.arange(9) * 0.01, np.zeros(9), np.add(heights, 50)])
    xyz[-1, 0] = 500
    scene = make_scene([0, 1, 1, 1, 1, 1, 1, 2, 1], xyz)
    (done,) = refine(scene, Options(vegetation_heights=(0.4, 2)))
    assert codes(scene).tolist() == [2, 3, 3, 4, 4, 5, 5, 6, 5]
    assert (done.step, done.changed) == ("vegetation", 4)
    assert scene.classes.given_codes == [2, 3, 4, 5, 6]
    assert len(scene.warnings) == 1
    once = scene.labels.clone()
    refine(scene, Options(vegetation_heights=(0.4, 2)))
    np.testing.assert_array_equal(scene.labels, once)


def test_a_model_without_vegetation_is_told_so():
    scene = make_scene([0, 1], [[0, 0, 0], [0, 1, 5]], classes=[AERIAL[0], AERIAL[2]])
    (done,) = refine(scene, Options(vegetation_heights=(0.5, 2)))
    assert done.changed == 0
    assert [info.asprs for info in scene.classes.infos] == [2, 6]
    assert scene.warnings == ["vegetation_heights changes nothing: the model has no class of vegetation (3, 4, 5)."]


def test_layers_of_a_made_up_forest_are_found_again():
    tile = make_tile("forest", seed=4, size_m=50, density=8)
    code = tile.extra["classification"]
    labels = np.select([code == 2, np.isin(code, (3, 4, 5))], [0, 1], 2)
    scene = make_scene(labels, tile.xyz)
    refine(scene, Options(vegetation_heights=(0.5, 2), fields=("height_above_ground",)))
    is_plant = labels == 1
    assert (codes(scene).numpy() == code)[is_plant].mean() > 0.98
    np.testing.assert_array_equal(scene.labels[~is_plant], labels[~is_plant])
