"""Noise below the terrain: what is left out, and what is answered for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.clouds.cloud import ClassInfo
from app.options import Options
from app.pipeline.ensemble import together
from app.pipeline.reach import halo_m
from app.pipeline.segmenter import Segmenter
from app.pipeline.transforms import apply
from tests.pipeline.pipeline_samples import make_procedure, make_terrain

DROP = {
    "type": "DropNoiseBelow",
    "support_cell_m": (8.0, 0.5),
    "least_support": 0.45,
    "cell_m": 2.0,
    "radius_m": 12.0,
    "depth_m": 1.1,
}
PLACES = np.array([7, 400, 401, 1500, 2999, 3009])  # of the noise in the cloud
FIELDS = ("confidence", "probabilities", "entropy")


def noisy():
    """A cloud of 3,010 points and the same without noise: 4 single points and a pair, 9 to 60 m below 40 m of hills."""
    clean = make_terrain(3004, 40.0)
    low = np.array([[3, 3, -20], [20, 20, -9], [20.2, 20, -9.1], [33, 8, -60], [39, 39, -35], [0.5, 20, -15]])
    cells = ((clean.xyz[:, :2] - clean.xyz[:, :2].min(0)) // 2).astype(int) @ [20, 1]
    order = np.lexsort([clean.xyz[:, 2], cells])
    lowest = order[np.unique(cells[order], return_index=True)[1]]
    is_noise = np.zeros(3010, bool)
    is_noise[PLACES] = True
    rows = np.zeros(3010, np.int64)
    rows[~is_noise] = np.arange(3004)
    rows[is_noise] = [lowest[np.linalg.norm(clean.xyz[lowest] - point, axis=1).argmin()] for point in low]
    cloud = clean.taken(rows)
    cloud.xyz[is_noise] = low
    return cloud, clean, rows


def segmenter(network, **changes):
    return Segmenter(network, replace(make_procedure(transform=[DROP]), **changes))


def with_noise_class():
    classes = make_procedure().classes
    return [*classes[:2], ClassInfo(12, "noise", (1, 2, 3), asprs=7), *classes[3:]]


def test_points_below_are_left_out_and_others_stay_as_they_are():
    cloud, clean, rows = noisy()
    out = apply([DROP], {"coord": torch.from_numpy(cloud.xyz).float()})
    assert out["noise"].nonzero().flatten().tolist() == PLACES.tolist()
    np.testing.assert_array_equal(out["coord"], clean.xyz.astype(np.float32))
    np.testing.assert_array_equal(out["inverse"], rows)


def test_what_is_left_out_does_not_depend_on_where_a_survey_is_cut(network):
    rng = np.random.default_rng(0)
    whole = make_terrain(30_000, 150.0)
    whole.xyz[::300, 2] -= rng.uniform(5, 60, 100)
    whole.xyz += np.array([650_000.3, 4_900_000.7, 200])
    frame = (*whole.xyz.min(0).tolist(), *whole.xyz.max(0).tolist())
    rows = np.flatnonzero(whole.xyz[:, 0] > 650_020)
    noise = [
        segmenter(network).prepare(each).projection.noise.numpy()
        for each in (whole, replace(whole.taken(rows), frame=frame))
    ]
    inner = whole.xyz[rows, 0] > 650_020 + halo_m(make_procedure(transform=[DROP])) - 32
    assert 50 < noise[0].sum() <= 100
    np.testing.assert_array_equal(noise[0][rows[inner]], noise[1][inner])


@pytest.mark.parametrize("low_m", [[0.8], [0.3, 0.3, 0.3], []])
def test_what_lies_hardly_below_the_terrain_stays(low_m):
    cloud = make_terrain(3004, 40.0)
    cloud.xyz[cloud.xyz[:, 2].argsort()[: len(low_m)], 2] -= low_m
    given = {"coord": torch.from_numpy(cloud.xyz).float()}
    assert apply([DROP], given) is given


@pytest.mark.parametrize("mode", ["fast", "exact", "vote"])
def test_noise_gets_the_answer_of_the_lowest_point_nearby_and_changes_no_other(network, mode):
    cloud, clean, rows = noisy()
    options = Options(mode=mode, fields=FIELDS)
    out, alone = (segmenter(network).segment(each, options) for each in (cloud, clean))
    for name, values in alone.arrays.items():
        np.testing.assert_array_equal(out.arrays[name], values[rows], err_msg=name)
    assert [each for each in out.meta.warnings if each.startswith("Noise below the terrain: 6 points")]
    assert not [each for each in alone.meta.warnings if each.startswith("Noise")]
    plain = Segmenter(network, make_procedure())
    for name, values in plain.segment(clean, options).arrays.items():
        np.testing.assert_array_equal(alone.arrays[name], values, err_msg=name)
    assert (plain.segment(cloud, options).fields["confidence"] != out.fields["confidence"]).any()


@pytest.mark.parametrize("mode", ["fast", "exact", "vote"])
def test_noise_gets_the_class_noise_for_certain_if_there_is_one(network, mode):
    cloud, _, _ = noisy()
    cloud.xyz[100] = np.nan
    cloud = replace(cloud, num_context=5)  # among them the last noise
    options = Options(mode=mode, fields=(*FIELDS, *(("agreement",) if mode == "vote" else ())))
    out = segmenter(network, classes=with_noise_class()).segment(cloud, options)
    assert len(out.labels) == 3005
    if mode == "vote":
        np.testing.assert_array_equal(out.fields["agreement"][PLACES[:-1]], 1)
    assert (out.labels[PLACES[:-1]] == 12).all()
    np.testing.assert_array_equal(out.fields["probabilities"][PLACES[:-1]], np.tile([0, 0, 1, 0, 0, 0], (5, 1)))
    np.testing.assert_array_equal(out.fields["confidence"][PLACES[:-1]], 1)
    np.testing.assert_array_equal(out.fields["entropy"][PLACES[:-1]], 0)
    assert out.labels[100] == -1
    others = np.delete(np.arange(3005), PLACES[:-1])
    given = segmenter(network).segment(cloud, options)
    for name, values in given.arrays.items():
        np.testing.assert_array_equal(out.arrays[name][others], values[others], err_msg=name)
    assert [each for each in out.meta.warnings if each.endswith("they get the class noise.")]


@pytest.mark.parametrize("mode", ["fast", "vote"])
def test_several_models_as_one_give_noise_what_each_gives_it(network, mode):
    cloud, _, _ = noisy()
    one = segmenter(network, classes=with_noise_class())
    options = Options(mode=mode, fields=(*FIELDS, *(("agreement",) if mode == "vote" else ())))
    alone, out = (each.segment(cloud, options) for each in (one, together([one, one])))
    assert (out.labels[PLACES] == 12).all()
    for name, values in alone.arrays.items():
        np.testing.assert_array_equal(out.arrays[name], values, err_msg=name)


def test_steps_see_the_class_of_noise(network):
    cloud, _, _ = noisy()
    out = segmenter(network, classes=with_noise_class()).segment(cloud, Options(min_confidence=0.999))
    assert (out.labels[PLACES] == 12).all()
    assert (np.delete(out.labels, PLACES) == -1).mean() > 0.5


def test_what_is_not_made_of_classes_is_that_of_the_lowest_point_nearby(network):
    cloud, clean, rows = noisy()
    energies = [
        segmenter(network, classes=with_noise_class()).segment(each, Options(fields=("energy",))).fields["energy"]
        for each in (cloud, clean)
    ]
    np.testing.assert_array_equal(energies[0], energies[1][rows])


@pytest.mark.parametrize(("num_answered", "told"), [(3010, 6), (1000, 3), (5, 0)])
def test_noise_that_is_context_is_not_told(network, num_answered, told):
    cloud = replace(noisy()[0], num_context=3010 - num_answered)
    out = segmenter(network).segment(cloud, Options())
    warnings = [each for each in out.meta.warnings if each.startswith("Noise below")]
    assert [each.split(":")[1].split()[0] for each in warnings] == ([str(told)] if told else [])
