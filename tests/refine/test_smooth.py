"""Probabilities are averaged over those nearby, and edges stay."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from app.options import Options
from app.refine.runner import refine
from app.refine.smooth import smoothed
from tests.refine.refine_samples import AERIAL, make_scene

COUNT = 300


def random_rows(seed=0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(4), COUNT).astype(np.float32), (rng.random((COUNT, 3)) * [9, 9, 1]).astype(np.float32)


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


@pytest.mark.parametrize(("neighbours", "radius_m"), [(8, np.inf), (64, 0.7), (64, 1.1), (64, 3.0), (5, 0.4)])
def test_means_are_those_of_a_plain_loop(neighbours, radius_m):
    shares, coord = random_rows()
    rng = np.random.default_rng(1)
    colors = rng.integers(100, 180, (COUNT, 3)).astype(np.uint8)
    normals = rng.normal(size=(COUNT, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    expected = []
    for at, near in enumerate(cKDTree(coord).query(coord, k=neighbours)[1]):
        near = near[np.linalg.norm(coord[near] - coord[at], axis=1) <= radius_m]
        unlike = ((colors[near].astype(float) - colors[at]) ** 2).sum(1) / (2 * 30**2)
        unlike += (coord[near, 2] - coord[at, 2]) ** 2 / (2 * 0.2**2) + (1 - np.abs(normals[near] @ normals[at])) / 0.1
        expected.append(np.average(shares[near], axis=0, weights=np.exp(-unlike)))
    found = smoothed(*tensors(shares, coord), neighbours, radius_m, *tensors(colors, normals))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_order_of_rows_does_not_matter():
    shares, coord = random_rows()
    order = np.random.default_rng(2).permutation(COUNT)
    np.testing.assert_allclose(
        smoothed(*tensors(shares[order], coord[order]), 8), smoothed(*tensors(shares, coord), 8)[order], atol=1e-6
    )


def test_rows_at_one_place_are_searched_as_others_are():
    shares, coord = random_rows()
    coord = coord[np.random.default_rng(3).integers(0, 9, COUNT)]
    distance = np.linalg.norm(coord[:, None] - coord, axis=2)
    expected = []
    for at, near in enumerate(np.argsort(distance, axis=1, kind="stable")[:, :5]):
        near = np.append(near[near != at], at)
        weights = np.exp(-((coord[near, 2] - coord[at, 2]) ** 2) / (2 * 0.2**2))
        expected.append(np.average(shares[near], axis=0, weights=weights))
    np.testing.assert_allclose(smoothed(*tensors(shares, coord), 5), expected, atol=2e-5)


def test_a_speck_goes_and_an_edge_stays():
    grid = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0), [0.0]), -1).reshape(-1, 3)
    is_roof = grid[:, 0] >= 10
    grid[is_roof, 2] = 4
    labels = np.where(is_roof, 2, 0)
    speckled = labels.copy()
    speckled[[25, 318]] = 1
    scene = make_scene(speckled, grid, sure=0.6)
    (done,) = refine(scene, Options(smooth=9))
    np.testing.assert_array_equal(scene.labels, labels)
    assert (done.step, done.changed) == ("smooth", 2)
    np.testing.assert_allclose(scene.probabilities.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("channel", ["rgb", "normals"])
def test_colours_and_normals_of_the_file_keep_edges(channel):
    side = np.arange(40) % 2 == 0
    grid = np.stack([np.arange(40) // 2 + 0.01 * side, np.zeros(40), np.zeros(40)], 1)
    labels = np.where(side, 0, 1)
    scene = make_scene(labels, grid, classes=AERIAL, sure=0.5)
    values = np.where(side[:, None], [[255, 0, 0]], [[0, 0, 255]]).astype(np.uint8)
    setattr(scene.cloud, channel, values if channel == "rgb" else (values / 255).astype(np.float32))
    refine(scene, Options(smooth=12))
    np.testing.assert_array_equal(scene.labels, labels)
    plain = make_scene(labels, grid, sure=0.5)
    before = plain.probabilities.clone()
    refine(plain, Options(smooth_radius_m=3.0))
    assert (plain.probabilities - before).abs().max() > 0.1


def test_rows_without_colours_or_normals_differ_from_none_in_them():
    shares, coord = tensors(*random_rows())
    rng = np.random.default_rng(4)
    colors, normals = tensors(rng.integers(0, 256, (COUNT, 3)).astype(np.float32), rng.normal(size=(COUNT, 3)))
    normals = normals.float()
    have = smoothed(shares, coord, 8, colors=colors, normals=normals)
    plain = smoothed(shares, coord, 8)
    for lacked in (torch.zeros(3), torch.full((3,), torch.nan)):
        assert torch.equal(
            smoothed(shares, coord, 8, colors=colors * torch.nan, normals=lacked.expand(COUNT, 3)), plain
        )
    lacking = torch.arange(COUNT) % 2 == 0
    colors[lacking], normals[lacking] = torch.nan, 0
    found = smoothed(shares, coord, 8, colors=colors, normals=normals)
    torch.testing.assert_close(found[lacking], plain[lacking], rtol=0, atol=1e-6)
    assert (found[~lacking] - plain[~lacking]).abs().amax() > 0.1
    assert (found[~lacking] - have[~lacking]).abs().amax() > 0.1


def test_normals_of_any_length_turn_alike():
    shares, coord = tensors(*random_rows())
    (normals,) = tensors(np.random.default_rng(5).normal(size=(COUNT, 3)).astype(np.float32))
    unit = normals / normals.norm(dim=1, keepdim=True)
    found = smoothed(shares, coord, 8, normals=127 * normals)
    torch.testing.assert_close(found, smoothed(shares, coord, 8, normals=unit), rtol=0, atol=1e-5)


@pytest.mark.parametrize("lacking", ["context", "tile"])
def test_a_neighbour_without_colours_is_no_edge_for_a_tile_that_has_them(lacking):
    xyz = np.stack([np.arange(6.0) // 2, np.arange(6) % 2 * 0.1, np.zeros(6)], 1)
    labels = [0, 0, 0, 0, 1, 1]
    scene = make_scene(labels, xyz, sure=0.5, num_context=2)
    if lacking == "context":
        scene.cloud.rgb = np.array([[255, 0, 0]] * 4 + [[0, 0, 0]] * 2, np.uint8)
        scene.cloud.uncolored = [(4, 6)]
    plain = make_scene(labels, xyz, sure=0.5)
    for each in (scene, plain):
        refine(each, Options(smooth=6))
    torch.testing.assert_close(scene.probabilities, plain.probabilities)
    assert scene.probabilities[3, 1] > 0.3


def test_points_that_are_not_usable_and_rows_without_points_are_left_alone():
    scene = make_scene([0, -1, 1], [[0, 0, 0], [np.nan, 0, 0], [1, 0, 0]])
    scene.probabilities = torch.cat([scene.probabilities, torch.tensor([[0.2, 0.3, 0.5]])])
    refine(scene, Options(smooth=4))
    np.testing.assert_array_equal(scene.probabilities[-1], np.array([0.2, 0.3, 0.5], np.float32))
    assert scene.answered[1] == -1
    assert refine(make_scene([-1], [[np.nan, 0, 0]]), Options(smooth=4))[0].changed == 0
