"""The pipeline with a network in half precision: what overflows runs in float32, for that cloud alone."""

import numpy as np
import pytest

from app.options import Options
from app.pipeline.batch import SegmentationRequest, segment_batch
from app.pipeline.inference import OVERFLOW
from app.pipeline.run_context import never_cancelled
from app.pipeline.segmenter import Segmenter
from tests.pipeline.pipeline_samples import make_overflowing, make_terrain


@pytest.fixture(scope="module")
def overflowing(network):
    return make_overflowing(network)


def dark():
    cloud = make_terrain(1500, seed=1)
    cloud.rgb[:] = 0
    cloud.normals[:] = 0
    return cloud


def test_labels_of_half_precision_are_nearly_all_those_of_float32(network, procedure):
    cloud = make_terrain()
    exact = Segmenter(network, procedure).segment(cloud).labels
    half = Segmenter(network, procedure, precision="bf16").segment(cloud)
    assert half.meta.warnings == []
    assert 0.95 < (half.labels == exact).mean() < 1


@pytest.mark.parametrize("fields", [("probabilities",), ("features", "probabilities")])
def test_what_overflows_runs_in_float32_with_a_warning(overflowing, procedure, fields):
    exact = Segmenter(overflowing, procedure).segment(make_terrain(), Options(fields=fields))
    half = Segmenter(overflowing, procedure, precision="fp16").segment(make_terrain(), Options(fields=fields))
    assert half.meta.warnings == [OVERFLOW]
    np.testing.assert_array_equal(half.fields["probabilities"], exact.fields["probabilities"])


def test_what_overflows_in_some_pass_runs_in_float32_in_all_of_them(overflowing, procedure):
    procedure.aug_transform.extend([[], [{"type": "RandomScale", "scale": [0.9, 0.9]}]])
    told, options = [], Options(mode="exact", fields=("probabilities",))
    exact = Segmenter(overflowing, procedure).segment(make_terrain(), options)
    half = Segmenter(overflowing, procedure, precision="fp16").segment(
        make_terrain(), options, on_passes=lambda *passes: told.append(passes)
    )
    assert half.meta.warnings == [OVERFLOW]
    assert told[-1] == (half.meta.passes, half.meta.passes)
    np.testing.assert_array_equal(half.fields["probabilities"], exact.fields["probabilities"])


def test_an_overflow_changes_nothing_for_other_clouds_of_the_pass(overflowing, procedure):
    segmenter = Segmenter(overflowing, procedure, precision="fp16")
    alone = [segmenter.segment(cloud, Options(fields=("probabilities",))) for cloud in (dark(), make_terrain())]
    requests = [
        SegmentationRequest(cloud, Options(fields=("probabilities",)), never_cancelled)
        for cloud in (dark(), make_terrain())
    ]
    together = {outcome.index: outcome.result for outcome in segment_batch(segmenter, requests, 100_000)}
    assert [result.meta.warnings for result in alone] == [[], [OVERFLOW]]
    for index, result in enumerate(alone):
        assert together[index].meta.warnings == result.meta.warnings
        np.testing.assert_array_equal(together[index].fields["probabilities"], result.fields["probabilities"])
