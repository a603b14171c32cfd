import numpy as np
import pytest

from app.errors import BadCloud, BadRequest
from app.pipeline import features, transforms
from tests.pipeline.pipeline_samples import make_procedure, make_terrain


def build(cloud, feat_keys):
    warnings = []
    rows = np.arange(len(cloud))
    return features.build_sample(cloud, rows, make_procedure(feat_keys), "cpu", warnings), warnings


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
    np.testing.assert_allclose(np.diff(sample["coord"].astype(float), axis=0), spacing, atol=1e-4)


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


@pytest.mark.parametrize(
    ("scale", "grid_size", "expected"),
    [
        ((1e-6, 1e-6, 1), 0.5, "look like degrees"),
        ((1e5, 1e5, 1), 0.5, "are its coordinates in metres?"),
        ((1e3, 1e3, 1e3), 0.5, "measures 40,000 at its widest; are its coordinates in metres?"),
        ((0.1, 0.1, 0.1), 0.5, "measures 4 at its widest; are its coordinates in metres?"),
        ((1e3, 1e3, 1e3), 4.0, None),
        ((100, 100, 1), 0.5, None),
        ((0.1, 0.1, 0.1), 0.05, None),
        ((1, 1, 1), 0.5, None),
    ],
)
def test_implausible_units_are_warned_about(scale, grid_size, expected):
    warnings = []
    features.usable_points(np.vstack([make_terrain().xyz, [[0, 0, 0], [40, 40, 0]]]) * scale, grid_size, warnings)
    assert [expected in said for said in warnings] == ([True] if expected else [])


BULK = np.random.default_rng(1).random((2000, 3)) * [50, 50, 10]


@pytest.mark.parametrize(
    ("xyz", "how"),
    [
        ([[0, 0, 0], [1e19, 0, 0], [1, 1, 1]], "wide"),
        ([[0, 0, 0], [6e30, 6e30, 0]], "wide"),
        ([[2.0**64, 0, 0], [0, 0, 0]], "wide"),
        ([[1e308, -1e308, 0], [-1e308, 1e308, 0]], "wide"),
        ([[0, 0, 0], [0, 0, 1e300]], "high"),
        (np.vstack([BULK, np.add(BULK, (1e12, 0, 0))]), "wide"),
        (BULK * 1e300, "wide"),
    ],
)
def test_a_cloud_that_no_grid_holds_is_refused_with_its_size(xyz, how):
    with pytest.raises(BadCloud, match=f"units {how}, more than .* voxels"):
        features.usable_points(np.array(xyz, np.float64), 0.5, [])


@pytest.mark.parametrize("far", [[[1e300, 0, 0]], [[1e308, -1e308, 0], [-1e308, 1e308, 0]]])
def test_points_beyond_all_measure_are_left_out(far):
    warnings: list[str] = []
    usable = features.usable_points(np.vstack([BULK, far]), 0.5, warnings)
    np.testing.assert_array_equal(usable, np.arange(len(BULK)))
    assert f"Points far away from all others: {len(far)}; they get the ignore label." in warnings


@pytest.mark.parametrize("distance_m", [1e3, 1e6, 8e6])
def test_a_few_points_far_apart_are_all_kept(distance_m):
    xyz = np.array([[0, 0, 0], [distance_m, 0, 0], [1, 1, 1]])
    assert len(features.usable_points(xyz, 0.5, [])) == 3


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
