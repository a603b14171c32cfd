import numpy as np
import pytest

from app.clouds.cloud import Cloud
from app.errors import BadCloud, BadModel
from app.options import Options
from app.pipeline.segmenter import Segmenter
from tests.pipeline.pipeline_samples import make_procedure, make_terrain


def test_every_point_gets_a_class_of_the_model(network, procedure):
    cloud = make_terrain()
    out = Segmenter(network, procedure).segment(cloud, Options(fields=("confidence", "probabilities", "entropy")))
    assert out.labels.shape == (len(cloud),)
    assert out.labels.dtype == np.int32
    assert set(out.labels) <= {info.id for info in procedure.classes}
    assert out.fields["probabilities"].shape == (len(cloud), 6)
    np.testing.assert_allclose(out.fields["probabilities"].sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(out.labels, 10 + out.fields["probabilities"].argmax(1))
    np.testing.assert_array_equal(out.fields["confidence"], out.fields["probabilities"].max(1))
    entropy = -(out.fields["probabilities"].astype(float) * np.log(out.fields["probabilities"].astype(float))).sum(1)
    np.testing.assert_allclose(out.fields["entropy"], entropy, atol=1e-4)
    assert list(out.meta.timings_ms) == ["features", "voxelize", "plan", "network", "project"]
    assert out.meta.warnings == []


def test_fields_not_asked_for_stay_empty(network, procedure):
    out = Segmenter(network, procedure).segment(make_terrain(), Options(fields=("confidence",)))
    assert "confidence" in out.fields
    assert "probabilities" not in out.fields
    assert "entropy" not in out.fields


def test_the_answer_is_the_same_twice(network, procedure):
    segmenter = Segmenter(network, procedure)
    first, second = (
        segmenter.segment(make_terrain(), Options(fields=("probabilities",))).fields["probabilities"] for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_points_of_a_voxel_share_its_label(network, procedure):
    cloud = make_terrain()
    segmenter = Segmenter(network, procedure)
    labels, prepared = segmenter.segment(cloud).labels, segmenter.prepare(cloud)
    np.testing.assert_array_equal(labels, labels[prepared.points][prepared.projection.rows])


def test_points_that_are_not_finite_are_ignored_and_change_no_other_label(network, procedure):
    clean = make_terrain()
    segmenter = Segmenter(network, procedure)
    expected = segmenter.segment(clean, Options(fields=("confidence",)))
    broken = make_terrain()
    rows = np.array([0, 7, 2999])
    broken.xyz = np.insert(clean.xyz, rows, [[np.nan, 0, 0], [0, np.inf, 0], [0, 0, -np.inf]], 0)
    for name in ("rgb", "normals", "intensity"):
        setattr(broken, name, np.insert(getattr(clean, name), rows, 0, 0))
    at = rows + np.arange(3)
    out = segmenter.segment(broken, Options(fields=("confidence",)))
    assert (out.labels[at] == procedure.ignore_label).all()
    assert (out.fields["confidence"][at] == 0).all()
    np.testing.assert_array_equal(np.delete(out.labels, at), expected.labels)
    assert any(sentence.startswith("Points with NaN or infinite coordinates: 3;") for sentence in out.meta.warnings)


@pytest.mark.parametrize("xyz", [np.empty((0, 3)), np.full((4, 3), np.nan)])
def test_a_cloud_without_a_usable_point_is_all_ignored(network, procedure, xyz):
    out = Segmenter(network, procedure).segment(Cloud(xyz, "npy"), Options(fields=("probabilities", "confidence")))
    np.testing.assert_array_equal(out.labels, np.full(len(xyz), -1))
    assert out.fields["probabilities"].shape == (len(xyz), 6)


@pytest.mark.parametrize("num_points", [1, 2, 5])
def test_a_handful_of_points_and_points_all_alike_are_labelled(network, procedure, num_points):
    cloud = Cloud(np.full((num_points, 3), 3.25), "npy")
    out = Segmenter(network, procedure).segment(cloud)
    assert len(set(out.labels)) == 1
    assert out.labels[0] != procedure.ignore_label
    assert len(out.meta.warnings) == 2  # no color, no normals


def test_one_far_outlier_is_ignored_and_the_others_keep_their_labels(network, procedure):
    clean = make_terrain()
    expected = Segmenter(network, procedure).segment(clean).labels
    cloud = make_terrain()
    cloud.xyz[17] = (1e9, 0, 0)
    out = Segmenter(network, procedure).segment(cloud)
    assert out.labels[17] == procedure.ignore_label
    assert (np.delete(out.labels, 17) == np.delete(expected, 17)).mean() > 0.98
    assert any("far away" in sentence for sentence in out.meta.warnings)


def test_a_cloud_too_high_for_the_grid_is_refused_with_its_height(network, procedure):
    cloud = make_terrain()
    cloud.xyz[:, 2] *= 1e6
    with pytest.raises(BadCloud, match="units high"):
        Segmenter(network, procedure).segment(cloud)


def test_a_shift_by_survey_coordinates_changes_nothing_that_matters(network, procedure):
    near, far = make_terrain(), make_terrain()
    far.xyz += (652_000.0, 6_862_000.0, 0.0)  # multiples of the voxel
    segmenter = Segmenter(network, procedure)
    assert (segmenter.segment(near).labels == segmenter.segment(far).labels).mean() > 0.999


def test_a_transform_that_only_trains_is_refused_when_the_model_is_loaded(network):
    with pytest.raises(BadModel, match="RandomJitter"):
        Segmenter(network, make_procedure(transform=[{"type": "RandomJitter", "sigma": 0.01}]))


def test_a_train_mode_grid_sample_thins_nothing(network, procedure):
    thinning = make_procedure(
        transform=[{"type": "GridSample", "grid_size": 3.0, "mode": "train", "return_inverse": True}]
    )
    cloud = make_terrain()
    np.testing.assert_array_equal(
        Segmenter(network, thinning).segment(cloud).labels, Segmenter(network, procedure).segment(cloud).labels
    )


def test_classes_that_do_not_match_the_network_are_refused(network):
    with pytest.raises(BadModel, match="6 outputs, the config 5 classes"):
        Segmenter(network, make_procedure(num_classes=5)).segment(make_terrain())


def test_remarks_of_the_procedure_are_in_every_answer(network, procedure):
    procedure.remarks.append("run as of old")
    assert "run as of old" in Segmenter(network, procedure).segment(make_terrain()).meta.warnings
