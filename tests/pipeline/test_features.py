import numpy as np
import pytest
import torch

from app.errors import BadRequest
from app.pipeline import features, transforms
from app.pipeline.usable_points import points_at
from tests.pipeline.pipeline_samples import make_procedure, make_terrain


def build(cloud, feat_keys):
    warnings = []
    points = points_at(torch.arange(len(cloud)), torch.from_numpy(cloud.xyz))
    return features.build_sample(cloud, points, make_procedure(feat_keys), warnings), warnings


def test_columns_that_are_there_come_through_without_a_warning():
    cloud = make_terrain()
    sample, warnings = build(cloud, ("coord", "color", "normal", "strength"))
    np.testing.assert_array_equal(sample["coord"], cloud.xyz.astype(np.float32))
    np.testing.assert_array_equal(sample["color"], cloud.rgb.astype(np.float32))
    np.testing.assert_array_equal(sample["normal"], cloud.normals)
    np.testing.assert_array_equal(sample["strength"][:, 0], cloud.intensity / np.float32(255))
    assert warnings == []


def test_absent_channels_are_filled_each_with_a_warning():
    cloud = make_terrain()
    cloud.rgb = cloud.normals = cloud.intensity = None
    sample, warnings = build(cloud, ("color", "normal", "strength"))
    assert (sample["color"] == 127.5).all()
    assert (sample["strength"] == 0.5).all()
    np.testing.assert_allclose(np.linalg.norm(sample["normal"], axis=1), 1, atol=1e-5)
    assert [word for word in ("color", "intensity", "normals") if any(word in said for said in warnings)] == [
        "color",
        "intensity",
        "normals",
    ]


def test_channels_that_the_model_does_not_read_are_not_missed():
    cloud = make_terrain()
    cloud.rgb = cloud.normals = cloud.intensity = None
    sample, warnings = build(cloud, ("coord",))
    assert set(sample) == {"coord"}
    assert warnings == []


def test_intensity_of_unknown_scale_is_warned_about():
    cloud = make_terrain()
    cloud.intensity_scale = None
    sample, warnings = build(cloud, ("strength",))
    np.testing.assert_array_equal(sample["strength"][:, 0], cloud.intensity)
    assert "scale of the intensity is unknown" in warnings[0]


def test_a_column_of_the_file_can_be_a_feature_and_an_absent_one_is_named():
    cloud = make_terrain()
    cloud.extra["reflectance"] = np.arange(len(cloud), dtype=np.uint16)
    sample, _ = build(cloud, ("coord", "reflectance"))
    np.testing.assert_array_equal(sample["reflectance"][:, 0], np.arange(len(cloud), dtype=np.float32))
    sample, _ = build(cloud, ("coord", "planarity"))
    with pytest.raises(BadRequest, match="planarity"):
        transforms.apply(make_procedure(("coord", "planarity")).post_transform, sample)


def test_large_coordinates_keep_their_millimetres():
    cloud = make_terrain()
    cloud.xyz += (652_000.0, 6_862_000.0, 100.0)
    sample, _ = build(cloud, ("coord",))
    spacing = np.diff(cloud.xyz, axis=0)
    np.testing.assert_allclose(np.diff(sample["coord"].double().numpy(), axis=0), spacing, atol=1e-4)


def test_features_that_are_not_finite_become_zero_with_a_count():
    cloud = make_terrain()
    cloud.normals[[3, 5]] = np.nan
    sample, warnings = build(cloud, ("normal",))
    assert (sample["normal"][[3, 5]] == 0).all()
    assert warnings == ["Points with NaN or infinite normal: 2; taken as 0."]


def test_a_missing_pair_of_return_numbers_is_said_once():
    _, warnings = build(make_terrain(), ("coord", "returns"))
    assert len(warnings) == 1
    assert "no return numbers" in warnings[0]


@pytest.mark.parametrize("name", ["strength", "intensity", "reflectance", "reflectivity", "remission"])
def test_intensity_goes_by_the_name_that_the_config_has_for_it(name):
    cloud = make_terrain()
    sample, warnings = build(cloud, ("coord", name))
    np.testing.assert_array_equal(sample[name][:, 0], cloud.intensity / np.float32(255))
    assert warnings == []
    cloud.intensity = None
    sample, warnings = build(cloud, ("coord", name))
    assert (sample[name] == 0.5).all()
    assert "no intensity" in warnings[0]


def test_two_names_of_intensity_are_two_columns():
    cloud = make_terrain()
    cloud.extra["reflectivity"] = np.arange(len(cloud))
    sample, _ = build(cloud, ("coord", "intensity", "reflectivity"))
    np.testing.assert_array_equal(sample["intensity"][:, 0], cloud.intensity / np.float32(255))
    np.testing.assert_array_equal(sample["reflectivity"][:, 0], np.arange(len(cloud), dtype=np.float32))
    del cloud.extra["reflectivity"]
    sample, _ = build(cloud, ("coord", "intensity", "reflectivity"))
    assert "reflectivity" not in sample  # Collect refuses it by name
