"""Heights above a ground that is known, that has gaps, and that is far away."""

import numpy as np
import pytest
import torch
from scipy.interpolate import LinearNDInterpolator

from app.errors import BadRequest
from app.options import Options
from app.refine.ground_height import Surface, height_above
from app.refine.runner import refine
from app.sample.land import KINDS, Land
from app.sample.tile import ORIGIN_M, make_tile
from tests.refine.refine_samples import make_scene

FIELDS = ("height_above_ground",)


def cloud_on(terrain, count=4000, size_m=40, seed=0):
    """Float32 points from 0 to 5 m above ``terrain``, their heights, and which are ground."""
    rng = np.random.default_rng(seed)
    xy = rng.random((count, 2)) * size_m
    above = np.where(rng.random(count) < 0.5, 0, rng.random(count) * 5)
    xyz = np.column_stack([xy, terrain(xy) + above]).astype(np.float32)
    return torch.from_numpy(xyz), above, torch.from_numpy(above == 0)


def test_on_a_plane_heights_are_exact_but_at_its_edge():
    xyz, above, is_ground = cloud_on(lambda xy: 0.5 * xy[:, 0] - 0.3 * xy[:, 1] + 700)
    error = np.abs(height_above(xyz, is_ground).numpy() - above)
    inside = ((xyz[:, :2] > 2) & (xyz[:, :2] < 38)).all(1).numpy()
    assert error[inside].max() < 0.35
    assert error[inside].mean() < 0.03


def test_a_gap_on_a_slope_is_bridged():
    xyz, above, is_ground = cloud_on(lambda xy: 0.2 * xy[:, 0] + 0.1 * xy[:, 1], 20_000, 60)
    in_gap = ((xyz[:, :2] - 30).abs() < 10).all(1)
    error = np.abs(height_above(xyz, is_ground & ~in_gap).numpy() - above)[in_gap.numpy()]
    assert error.max() < 0.2


@pytest.mark.parametrize("kind", ["town", "forest"])
def test_heights_over_a_made_up_land_are_those_over_its_terrain(kind):
    tile = make_tile(kind, seed=5, size_m=60)
    land = Land(np.random.default_rng(5), 60, KINDS[kind])
    offset_m = tile.xyz - ORIGIN_M
    above = offset_m[:, 2] - land.height_m(offset_m[:, :2])
    is_ground = torch.from_numpy(tile.extra["classification"] == 2)
    heights = height_above(torch.from_numpy((tile.xyz - ORIGIN_M.round(-3)).astype(np.float32)), is_ground).numpy()
    on_land = ~land.is_water(offset_m[:, :2])
    error = np.abs(heights - above)[on_land]
    assert error.mean() < 0.03
    assert np.quantile(error, 0.99) < 0.2


def test_it_differs_little_from_a_tin_of_all_ground_points():
    tile = make_tile("village", seed=2, size_m=60)
    xyz = tile.xyz - ORIGIN_M
    is_ground = tile.extra["classification"] == 2
    tin = LinearNDInterpolator(xyz[is_ground, :2], xyz[is_ground, 2])(xyz[:, :2])
    heights = height_above(torch.from_numpy(xyz.astype(np.float32)), torch.from_numpy(is_ground)).numpy()
    error = np.abs(xyz[:, 2] - tin - heights)
    error = error[np.isfinite(error)]
    assert len(error) > 0.95 * len(xyz)
    assert error.mean() < 0.03
    assert np.quantile(error, 0.99) < 0.12


def test_order_and_place_do_not_matter():
    xyz, _, is_ground = cloud_on(lambda xy: 3 * np.sin(xy[:, 0] / 7))
    heights = height_above(xyz, is_ground)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(xyz)))
    np.testing.assert_array_equal(height_above(xyz[order], is_ground[order]), heights[order])
    np.testing.assert_allclose(height_above(xyz + 1024, is_ground), heights, atol=2e-3)


def test_one_ground_point_makes_a_level():
    xyz = torch.tensor([[0.0, 0, 10], [3, 4, 12], [-90, 0, 9]])
    np.testing.assert_allclose(height_above(xyz, torch.tensor([True, False, False])), [0, 2, -1], atol=1e-5)


def test_the_raster_stays_small_however_far_apart_ground_is():
    ground = torch.cat([torch.rand((500, 3)), torch.rand((500, 3)) + torch.tensor([80_000.0, 60_000, 0])])
    surface = Surface.through(ground, 1000)
    assert surface.cells.numel() <= 4001
    assert surface.edge_m > 1000
    assert not surface.is_far(ground).any()
    assert surface.height_at(ground).isfinite().all()


def test_far_from_ground_there_is_no_height_and_a_warning_says_so():
    xyz = np.array([[0, 0, 10], [1, 0, 11], [150, 0, 12], [0, 90, 13], [np.nan, 0, 0], [0, -150, 14]], float)
    scene = make_scene([0, 1, 1, 1, -1, 1], xyz, num_context=1)
    assert refine(scene, Options(fields=FIELDS)) == []  # no step that is there to change labels
    heights = scene.answered_fields()["height_above_ground"]
    np.testing.assert_allclose(heights, [0, 1, np.nan, 3, np.nan], atol=1e-4)
    assert heights.dtype == torch.float32
    assert scene.warnings == ["1 points have no height above ground: no ground is within about 100 m of them."]
    without = make_scene([1, 1], [[0, 0, 1], [1, 0, 1]])
    refine(without, Options(fields=FIELDS))
    assert without.answered_fields()["height_above_ground"].isnan().all()
    assert without.warnings[0].startswith("2 points have no height")


def test_the_file_may_say_what_is_ground():
    xyz = [[0, 0, 10], [1, 0, 11], [2, 0, 13], [np.nan, 0, 0], [1, 1, 3]]
    scene = make_scene([0, 1, 1, -1, 0], xyz, classification=[1, 2, 1, 2, 0], num_context=1)
    refine(scene, Options(fields=FIELDS, ground="file"))
    np.testing.assert_allclose(scene.answered_fields()["height_above_ground"], [-1, 0, 2, np.nan], atol=1e-4)
    scene = make_scene([0, 0, 0], [[0, 0, 11], [2, 0, 12], [4, 0, 10]], classification=[1, 1, 2], num_context=1)
    refine(scene, Options(fields=FIELDS, ground="file"))  # the neighbour's ground counts
    np.testing.assert_allclose(scene.answered_fields()["height_above_ground"], [1, 2], atol=1e-4)
    xyz = [[0, 0, 11], [2, 0, 12], [0, 2, 10], [4, 0, 9]]
    lacking = make_scene([0] * 4, xyz, classification=[1, 1, 2, 0], num_context=1)  # a neighbour without classes
    alone = make_scene([0] * 3, xyz[:3], classification=[1, 1, 2])
    for each in (lacking, alone):
        refine(each, Options(fields=FIELDS, ground="file"))
    np.testing.assert_array_equal(*(each.answered_fields()["height_above_ground"] for each in (lacking, alone)))
    with pytest.raises(BadRequest, match="ground=file needs the classes"):
        refine(make_scene([0]), Options(fields=FIELDS, ground="file"))
