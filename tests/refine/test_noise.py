"""Noise is found, and what only looks like it is left alone."""

import numpy as np
import pytest
import torch

from app.options import Options
from app.refine.noise import find_noise
from app.refine.runner import refine
from app.sample.tile import make_tile
from tests.refine.refine_samples import codes, make_scene


def local(xyz):
    return torch.from_numpy((xyz - np.floor(xyz.min(0) / 1024) * 1024).astype(np.float32))


def slope(density, size_m, rng, grade=0.0):
    xy = rng.random((int(density * size_m**2), 2)) * size_m
    return np.column_stack([xy, grade * xy[:, 0] + rng.normal(0, 0.03, len(xy))])


def found(*parts):
    """How many points of each of ``parts`` are low noise, and how many high noise."""
    is_low, is_high = find_noise(local(np.concatenate(parts)))
    ends = np.cumsum([len(part) for part in parts])[:-1]
    pairs = zip(np.split(is_low.numpy(), ends), np.split(is_high.numpy(), ends), strict=True)
    return [(int(low.sum()), int(high.sum())) for low, high in pairs]


@pytest.mark.parametrize("kind", ["town", "village", "forest"])
def test_birds_and_multipath_of_a_sample_are_noise_and_nothing_else_is(kind):
    tile = make_tile(kind, seed=3, size_m=70)
    code = tile.extra["classification"]
    is_low, is_high = (each.numpy() for each in find_noise(local(tile.xyz)))
    assert not (is_low | is_high)[~np.isin(code, (7, 18))].any()
    assert is_low[code == 7].sum() >= 0.75 * (code == 7).sum() > 3
    assert is_high[code == 18].sum() >= 0.9 * (code == 18).sum() > 8
    assert not is_low[code == 18].any()


def test_a_small_cluster_far_below_or_above_is_noise():
    rng = np.random.default_rng(0)
    flock = rng.normal([20, 20, 40], 0.4, (6, 3))
    echoes = rng.normal([30, 12, -6], 0.3, (5, 3))
    assert found(slope(10, 40, rng), flock, echoes, [[8, 8, 1300.0]]) == [(0, 0), (0, 6), (5, 0), (0, 1)]


def test_wires_also_broken_ones_are_no_noise():
    rng = np.random.default_rng(1)
    along = np.concatenate([start + rng.random(8) * 2.5 for start in np.arange(0, 120, 6)])  # gaps of more than 3 m
    wires = [np.column_stack([along, np.full(len(along), at), np.full(len(along), 22.0)]) for at in (18, 22, 26)]
    assert found(slope(8, 120, rng), *wires) == [(0, 0)] * 4


def test_cliffs_steep_terrain_and_pylons_are_no_noise():
    rng = np.random.default_rng(2)
    top, foot = slope(10, 30, rng), slope(10, 30, rng) - [30, 0, 60]
    pylon = np.column_stack([np.full(80, 15.0), np.full(80, 15.0), np.linspace(0.5, 40, 80)])
    assert found(top, foot, pylon) == [(0, 0)] * 3
    assert found(slope(10, 60, rng, grade=2.0)) == [(0, 0)]


@pytest.mark.parametrize("density", [0.06, 0.3, 1])
def test_sparse_surveys_with_trees_have_no_noise(density):
    rng = np.random.default_rng(3)
    ground = slope(density, 1000 if density < 0.5 else 300, rng, grade=0.3)
    trees = ground[rng.random(len(ground)) < 0.3] + [0.3, 0.2, 0]
    trees[:, 2] += rng.uniform(2, 25, len(trees))
    assert found(ground, trees) == [(0, 0)] * 2


def test_points_that_a_file_holds_several_times_are_no_noise():
    rng = np.random.default_rng(5)
    ground, bird = slope(10, 30, rng), np.array([[15, 15, 40.0]])
    assert found(np.repeat(ground, 5, 0), np.repeat(bird, 5, 0)) == [(0, 0), (0, 5)]


@pytest.mark.parametrize("number", [1, 3, 8])
def test_a_few_points_alone_are_no_noise(number):
    assert found(np.random.default_rng(6).random((number, 3)) * [1, 1, 100]) == [(0, 0)]


def test_order_and_place_do_not_matter():
    tile = make_tile("village", seed=1, size_m=50)
    xyz = local(tile.xyz).double().mul(1024).round().div(1024)  # so that moving it is exact in float32
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(xyz)))
    for first, second in zip(find_noise(xyz.float()), find_noise((xyz[order] + 1024).float()), strict=True):
        np.testing.assert_array_equal(first[order], second)


def test_it_is_a_step():
    rng = np.random.default_rng(4)
    xyz = np.concatenate([slope(10, 20, rng), [[5, 5, 30], [np.nan, 0, 0], [9, 9, -8]]])
    labels = np.zeros(len(xyz), int)
    labels[-2] = -1
    scene = make_scene(labels, xyz)
    (done,) = refine(scene, Options(noise=True))
    assert (done.step, done.changed) == ("noise", 2)
    assert (codes(scene)[-2:].tolist(), scene.answered[-2].item()) == ([18, 7], -1)
    assert refine(make_scene([-1], [[np.nan, 0, 0]]), Options(noise=True))[0].changed == 0
