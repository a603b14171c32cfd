"""Points that give context: the network sees them, the answer has no row for them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.clouds.cloud import Cloud
from app.networks.registry import build
from app.options import Options
from app.pipeline.batch import SegmentationRequest, segment_batch
from app.pipeline.run_context import never_cancelled
from app.pipeline.segmenter import Segmenter
from tests.pipeline.instance_samples import ball, make_segmenter, scene
from tests.pipeline.pipeline_samples import PROBE, make_procedure, make_terrain

NUM_CONTEXT = 1100
OF_CLASSES = ("confidence", "probabilities", "entropy")


def assert_first_rows(out, whole, num_points):
    """``out`` is the answer ``whole`` without the rows from ``num_points`` on."""
    assert set(out.arrays) == set(whole.arrays)
    for name, values in whole.arrays.items():
        np.testing.assert_array_equal(out.arrays[name], values[:num_points], err_msg=name)


@pytest.fixture
def of_classes(network):
    views = [[{"type": "RandomRotateTargetAngle", "angle": [angle], "axis": "z", "p": 1}] for angle in (0, 1 / 2, 1)]
    pre_grid = {"type": "GridSample", "grid_size": 0.1, "mode": "train"}
    return Segmenter(network, replace(make_procedure(transform=[pre_grid]), aug_transform=views))


@pytest.mark.parametrize("tile_voxels", [400_000, 900])
@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_the_answer_is_that_of_the_whole_cloud_without_the_rows_of_the_context(of_classes, mode, tile_voxels):
    of_classes.tile_voxels = tile_voxels
    cloud, options = make_terrain(), Options(mode=mode, fields=OF_CLASSES)
    cloud.xyz[[5, -5]] = np.nan
    whole = of_classes.segment(cloud, options)
    out = of_classes.segment(replace(cloud, num_context=NUM_CONTEXT), options)
    assert_first_rows(out, whole, len(cloud) - NUM_CONTEXT)
    assert len(set(out.labels)) > 2
    alone = of_classes.segment(replace(cloud, num_context=NUM_CONTEXT).answered(), options)
    assert (alone.labels != out.labels).any()  # the context shows


def test_features_are_those_of_the_whole_cloud():
    torch.manual_seed(0)
    described = Segmenter(build(PROBE).requires_grad_(False), make_procedure(num_classes=4))
    cloud, options = make_terrain(), Options(fields=("features", "features_rgb", "confidence"))
    whole = described.segment(cloud, options)
    assert_first_rows(described.segment(replace(cloud, num_context=1), options), whole, len(cloud) - 1)


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_instances_are_those_of_the_whole_cloud_that_have_a_point(mode):
    balls = make_segmenter()
    cloud = scene(
        ball([0, 0, 0], 1), ball([5, 0, 0], 2, 500), ball([0, 5, 0], 0), ball([5, 5, 0], 1, 300), ball([9, 9, 0], 2)
    )
    order = np.random.RandomState(0).permutation(1300)  # of the first two balls, so that voxels number them anyhow
    cloud = Cloud(np.concatenate([cloud.xyz[1300:], cloud.xyz[order]]), "npy", rgb=np.roll(cloud.rgb, -1300, 0))
    cloud.rgb[1900:] = scene(ball([0, 0, 0], 1), ball([5, 0, 0], 2, 500)).rgb[order]
    options = Options(mode=mode, fields=("instances", "confidence"))
    whole = balls.segment(cloud, options)
    out = balls.segment(replace(cloud, num_context=1300), options)
    np.testing.assert_array_equal(out.labels, whole.labels[:1900])
    assert (len(whole.meta.instances), len(out.meta.instances)) == (4, 2)
    old_ids, new_ids = whole.fields["instances"][:1900], out.fields["instances"]
    np.testing.assert_array_equal(old_ids == -1, new_ids == -1)
    assert len(set(zip(old_ids, new_ids, strict=True))) == 3
    for number, info in enumerate(out.meta.instances):
        old = whole.meta.instances[old_ids[new_ids == number][0]]
        assert (info.id, info.label, info.score) == (number, old.label, old.score)
        assert info.num_points == (new_ids == number).sum() == old.num_points


def test_clouds_of_one_pass_keep_their_contexts_apart(network, procedure):
    of_classes, options = Segmenter(network, procedure), Options(fields=OF_CLASSES)
    clouds = [
        replace(make_terrain(seed=seed), num_context=num_context) for seed, num_context in enumerate((0, 500, 2999))
    ]
    outcomes = segment_batch(
        of_classes, [SegmentationRequest(cloud, options, never_cancelled) for cloud in clouds], 100_000
    )
    for outcome in outcomes:
        cloud = clouds[outcome.index]
        assert outcome.batch_size == 3
        assert_first_rows(
            outcome.result, of_classes.segment(replace(cloud, num_context=0), options), cloud.num_answered
        )


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_without_a_usable_point_what_is_answered_is_ignored(of_classes, mode):
    cloud = Cloud(np.full((5, 3), np.nan), "npy", num_context=2)
    np.testing.assert_array_equal(of_classes.segment(cloud, Options(mode=mode)).labels, [-1, -1, -1])
    cloud.xyz[3:] = 0
    np.testing.assert_array_equal(of_classes.segment(cloud, Options(mode=mode)).labels, [-1, -1, -1])
