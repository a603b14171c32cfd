"""A part of a survey has its grids where they lie in the survey as one cloud."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.clouds.cloud import Cloud
from app.clouds.units import Units, length
from app.options import Options
from app.pipeline.segmenter import Segmenter
from tests.pipeline.aerial_samples import AT, aerial_procedure
from tests.pipeline.pipeline_samples import make_terrain

REACH_M = 19  # of all, and of a voxel


def box_of(xyz):
    return (*xyz.min(0).tolist(), *xyz.max(0).tolist())


def make_survey(extent_m=120.0, num_points=40_000):
    """Coordinates in whole centimetres, as files have them."""
    cloud = make_terrain(num_points, extent_m)
    cloud.xyz = np.rint((cloud.xyz + AT) * 100) / 100
    return cloud


@pytest.fixture
def aerial(network):
    return Segmenter(network, aerial_procedure())


VIEWS = [[{"type": "RandomRotateTargetAngle", "angle": [turn], "axis": "z", "p": 1}] for turn in (0, 1 / 2, 5 / 7)]
VIEWS += [[{"type": "RandomScale", "scale": [0.9, 0.9]}, {"type": "RandomFlip", "p": 1}], [{"type": "PositiveShift"}]]


@pytest.mark.parametrize("mode", ["fast", "exact", "vote"])
def test_in_a_frame_as_large_as_the_cloud_nothing_is_otherwise(network, mode):
    segmenter = Segmenter(network, aerial_procedure(views=VIEWS[:2] + VIEWS[3:]))
    cloud, options = make_survey(60), Options(mode=mode, fields=("probabilities",))
    framed = segmenter.segment(replace(cloud, frame=box_of(cloud.xyz)), options)
    np.testing.assert_array_equal(
        framed.fields["probabilities"], segmenter.segment(cloud, options).fields["probabilities"]
    )


def voxels_by_place(segmenter, cloud):
    """For each voxel its place in the survey, number modulo 32, feature values and position within its voxel."""
    prepared = segmenter.prepare(cloud)
    first = np.unique(prepared.projection.rows.numpy(), return_index=True)[1]
    return {
        tuple(place): (at, feat)
        for place, at, feat in zip(
            cloud.xyz[: cloud.num_answered][first], prepared.grid_coord.numpy() % 32, prepared.feat.numpy(), strict=True
        )
    }


@pytest.mark.parametrize("west_m", [0, 3.27, 40])
def test_voxels_and_features_of_a_part_are_those_of_the_whole(aerial, west_m):
    whole = make_survey()
    low = whole.xyz.min(0) + np.array([west_m, 17.31, 0])
    rows = ((whole.xyz >= low) & (whole.xyz <= low + np.array([70, 60, 99]))).all(1)
    part = replace(whole.taken(rows), frame=box_of(whole.xyz))
    expected, found = voxels_by_place(aerial, whole), voxels_by_place(aerial, part)
    inner = [
        place
        for place in found
        if (np.abs(np.array(place)[:2] - low[:2] - [35, 30]) < np.array([35, 30]) - REACH_M).all()
    ]
    assert len(inner) > 1000
    for place in inner:
        np.testing.assert_array_equal(found[place][0], expected[place][0])
        np.testing.assert_array_equal(found[place][1], expected[place][1])
    alone = voxels_by_place(aerial, replace(part, frame=None))
    assert any(place not in alone or (alone[place][1] != expected[place][1]).any() for place in inner)


def test_means_over_views_of_a_part_are_those_of_the_whole(network):
    segmenter = Segmenter(network, aerial_procedure(views=VIEWS[:2]))
    whole, options = make_survey(), Options(mode="vote", fields=("probabilities", "agreement"))
    rows = (whole.xyz[:, 0] < whole.xyz[:, 0].min() + 73.27).nonzero()[0]
    part = replace(whole.taken(rows), frame=box_of(whole.xyz))
    expected, found = segmenter.segment(whole, options), segmenter.segment(part, options)
    inner = whole.xyz[rows, 0] < whole.xyz[:, 0].min() + 73.27 - 32
    for name in options.fields:
        away = np.abs(found.fields[name] - expected.fields[name][rows])[inner].reshape(inner.sum(), -1).max(1)
        assert (away < 0.01).mean() > 0.99
    alone = segmenter.segment(replace(part, frame=None), options)
    away = np.abs(alone.fields["probabilities"] - expected.fields["probabilities"][rows])[inner].max(1)
    assert (away < 0.01).mean() < 0.9


@pytest.mark.parametrize("far", [[0, 0, 0], [48_000, -96_000, 480], [960_000, 3_264_000, 0]])
def test_far_away_in_a_survey_coordinates_stay_fine_and_grids_where_they_are(aerial, far):
    cloud = make_survey(40)  # after 48 m, voxels, their halvings, and cells of 2 and 1.5 m repeat
    low, high = np.array(box_of(cloud.xyz)).reshape(2, 3)
    frame = (*(low - np.maximum(far, 0)).tolist(), *(high - np.minimum(far, 0)).tolist())
    found = voxels_by_place(aerial, replace(cloud, frame=frame))
    expected = voxels_by_place(aerial, cloud)
    is_same = [
        place in found and (found[place][0] == at).all() and np.allclose(found[place][1], feat, atol=2e-3)
        for place, (at, feat) in expected.items()
    ]
    assert np.mean(is_same) > (0.95 if any(far) else 0.999999)  # rounding moves points that lie upon a border


def test_where_coordinates_are_read_they_are_those_of_the_part_but_for_a_period(network):
    segmenter = Segmenter(network, aerial_procedure(("coord", "offset")))
    cloud = make_survey(40)
    low, high = np.array(box_of(cloud.xyz)).reshape(2, 3)
    prepared = segmenter.prepare(replace(cloud, frame=(*(low - 5000.3).tolist(), *(high + 2000.1).tolist())))
    assert prepared.coord.abs().max() < 20 + 2 * 48


def test_a_frame_has_the_units_of_its_cloud(aerial):
    whole = make_survey()
    feet = replace(whole, xyz=np.round(whole.xyz / 0.3048, 6), units=Units(*[length(0.3048)] * 3))
    rows = whole.xyz[:, 0] < AT[0] + 70
    part = replace(feet.taken(rows), frame=box_of(feet.xyz))
    expected, found = voxels_by_place(aerial, feet), voxels_by_place(aerial, part)
    inner = [place for place in found if place[0] * 0.3048 < AT[0] + 70 - REACH_M]
    assert len(inner) > 1000
    for place in inner:
        np.testing.assert_array_equal(found[place][0], expected[place][0])
        np.testing.assert_allclose(found[place][1], expected[place][1], atol=1e-4)


def test_a_cloud_of_eight_points_has_a_frame_of_its_own(aerial):
    cloud = Cloud(np.random.RandomState(0).rand(8, 3) * 5 + AT, "npy", frame=(*(AT - 100), *(AT + 100)))
    assert len(aerial.segment(cloud).labels) == 8
    assert torch.isfinite(aerial.prepare(cloud).feat).all()
