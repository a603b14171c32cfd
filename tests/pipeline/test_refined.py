"""Answers with refined labels."""

from dataclasses import replace

import numpy as np
import pytest

from app.clouds.cloud import Cloud
from app.errors import BadRequest
from app.options import Options
from app.pipeline.segmenter import Segmenter
from tests.pipeline.pipeline_samples import make_network, make_procedure, make_terrain

CODES = (2, 3, 4, 5, 6, 9)


@pytest.fixture(scope="module")
def coded():
    """A segmenter whose classes have codes."""
    plain = make_procedure()
    classes = [replace(info, asprs=code) for info, code in zip(plain.classes, CODES, strict=True)]
    return Segmenter(make_network(), replace(plain, classes=classes))


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_doubtful_points_are_unclassified_and_counted(coded, mode):
    cloud, fields = make_terrain(), ("confidence", "probabilities")
    cloud.xyz[3] = np.nan
    plain = coded.segment(cloud, Options(mode=mode, fields=fields))
    limit = float(np.median(plain.fields["confidence"]))
    out = coded.segment(cloud, Options(mode=mode, fields=fields, min_confidence=limit))
    is_doubtful = plain.fields["confidence"] < limit
    is_doubtful[3] = False
    np.testing.assert_array_equal(out.labels, np.where(is_doubtful, 1001, plain.labels))
    assert 0 < is_doubtful.sum() < len(cloud)
    assert [(done.step, done.changed) for done in out.meta.refined] == [("unclassified", is_doubtful.sum())]
    assert [info.asprs for info in out.meta.classes] == [*CODES, 1]
    assert out.meta.known_classes == plain.meta.classes
    assert out.labels.dtype == np.int32
    for name in fields:
        np.testing.assert_array_equal(out.fields[name], plain.fields[name])
    assert "refine" in out.meta.timings_ms
    assert "refine" not in plain.meta.timings_ms


def test_context_is_refined_and_not_answered(coded):
    cloud, options = make_terrain(), Options(min_confidence=0.4)
    whole = coded.segment(cloud, options)
    out = coded.segment(replace(cloud, num_context=1000), options)
    np.testing.assert_array_equal(out.labels, whole.labels[:-1000])
    assert out.meta.refined[0].changed == np.count_nonzero(out.labels == 1001)


def test_a_cloud_without_usable_points_is_answered(coded):
    out = coded.segment(Cloud(np.full((4, 3), np.nan), "npy"), Options(min_confidence=0.5))
    np.testing.assert_array_equal(out.labels, np.full(4, -1))
    assert out.meta.refined[0].changed == 0


def test_models_whose_ids_leave_no_room_are_refused(coded):
    classes = [replace(info, id=info.id + 1000) for info in coded.procedure.classes]
    with pytest.raises(BadRequest, match="ids of 1000"):
        Segmenter(make_network(), replace(coded.procedure, classes=classes)).for_options(Options(min_confidence=0.5))


def test_kept_points_have_the_class_of_the_file_in_every_mode(coded):
    cloud = make_terrain()
    cloud.xyz[3] = np.nan
    cloud.extra["classification"] = np.resize(np.array([9, 17, 2], np.uint8), len(cloud))
    for mode in ("fast", "exact"):
        plain = coded.segment(cloud, Options(mode=mode))
        out = coded.segment(cloud, Options(mode=mode, preserve=(9, 17)))
        own = cloud.extra["classification"]
        expected = np.select([own == 9, own == 17], [15, 1017], plain.labels)
        np.testing.assert_array_equal(out.labels, expected)
        assert (out.meta.refined[0].step, out.meta.num_added) == ("kept", 1)
        assert out.labels[3] == 15


def test_an_answer_knows_which_codes_it_can_give(coded):
    cloud = make_terrain()
    cloud.extra["classification"] = np.resize(np.array([9, 17, 2], np.uint8), len(cloud))
    asked = Options(preserve=(17,), noise=True, min_confidence=0.4, classes=("class 5:64",))
    assert coded.segment(cloud, asked).meta.given_codes == [1, *CODES[:-1], 7, 9, 18]
    assert coded.segment(cloud, Options(only=(9,))).meta.given_codes == [*CODES]


def test_a_cloud_without_classes_cannot_keep_them(coded):
    with pytest.raises(BadRequest, match="preserve and within needs the classes that the file states"):
        coded.segment(make_terrain(), Options(preserve=(9,), within="0,0,5,5"))


def test_codes_of_the_request_are_in_the_answer(network, procedure):
    segmenter = Segmenter(network, procedure)
    stated = tuple(f"class {number}:{code}" for number, code in enumerate(CODES))
    out = segmenter.segment(make_terrain(), Options(classes=stated, classification_to="mine"))
    assert [info.asprs for info in out.meta.classes] == [*CODES]
    assert out.meta.label_column == "mine"
    np.testing.assert_array_equal(out.labels, segmenter.segment(make_terrain()).labels)
    with pytest.raises(BadRequest, match="'roof'"):
        segmenter.for_options(Options(classes=("roof:6",)))


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_steps_follow_each_other_and_make_a_field(coded, mode):
    cloud = make_terrain()
    cloud.xyz[3] = np.nan
    cloud.xyz[5, 2] += 500
    options = Options(
        mode=mode, smooth=4, sieve=3, noise=True, vegetation_heights=(0.5, 2), fields=("height_above_ground",)
    )
    out = coded.segment(cloud, options)
    assert [done.step for done in out.meta.refined] == ["smooth", "sieve", "noise", "vegetation"]
    heights = out.fields["height_above_ground"]
    assert (heights.dtype, heights.shape) == (np.float32, (len(cloud),))
    assert np.isnan(heights[3])
    assert out.labels[[3, 5]].tolist() == [-1, 1018]
    code_of = {info.id: info.asprs for info in out.meta.classes}
    codes = np.array([code_of.get(label, -1) for label in out.labels])
    assert heights[codes == 3].max(initial=-9) < 0.5 <= heights[codes == 4].min(initial=9)
    if mode == "fast":
        answered = coded.segment(replace(cloud, num_context=500), options)
        np.testing.assert_array_equal(answered.labels, out.labels[:-500])
        np.testing.assert_array_equal(answered.fields["height_above_ground"], heights[:-500])


def test_a_field_of_a_step_has_no_numbers_without_usable_points(coded):
    out = coded.segment(Cloud(np.full((4, 3), np.nan), "npy"), Options(fields=("height_above_ground",), smooth=4))
    np.testing.assert_array_equal(out.fields["height_above_ground"], np.full(4, np.nan))


def test_heights_of_vegetation_may_be_those_of_the_model(coded):
    with pytest.raises(BadRequest, match="made-up states no heights of vegetation"):
        coded.for_options(Options(vegetation_heights="model"))
    stating = Segmenter(make_network(), replace(coded.procedure, vegetation_heights_m=(0.4, 3.0)))
    by_model, by_request, others = (
        stating.segment(make_terrain(), Options(vegetation_heights=heights))
        for heights in ("model", (0.4, 3), (0.5, 2))
    )
    np.testing.assert_array_equal(by_model.labels, by_request.labels)
    assert (by_model.labels != others.labels).any()


@pytest.mark.parametrize("mode", ["fast", "vote"])
def test_options_without_effect_are_told(coded, mode):
    cloud = make_terrain()
    cloud.extra["classification"] = np.full(len(cloud), 2, np.uint8)
    ground = "ground=file changes nothing without vegetation_heights or fields=height_above_ground."
    assert coded.segment(cloud, Options(mode=mode, ground="file")).meta.warnings == [ground]
    used = Options(mode=mode, ground="file", fields=("height_above_ground",))
    assert coded.segment(cloud, used).meta.warnings == []


def test_heights_need_classes_with_codes():
    plain = Segmenter(make_network(), make_procedure())
    assert "height_above_ground" not in plain.fields
    with pytest.raises(BadRequest, match="height_above_ground needs an ASPRS code"):
        plain.for_options(Options(fields=("height_above_ground",)))
    plain.for_options(Options(smooth=4, sieve=3))
