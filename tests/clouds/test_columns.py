import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clouds.checks import check_cloud
from app.clouds.color import rgb8
from app.clouds.columns import ALIASES, SKIP, canonical, cloud_from_columns
from app.clouds.columns_option import check_columns
from app.errors import BadCloud, BadRequest

NAMES = sorted({alias for aliases in ALIASES.values() for alias in aliases} | {SKIP, "other", "scalar_Thing"})


def color(*values: float, dtype: str = "f4") -> tuple[list, list[str]]:
    channel = np.array(values, dtype)
    rgb, warnings = rgb8(channel, channel, channel)
    assert rgb.dtype == np.uint8
    return rgb[:, 0].tolist(), warnings


@pytest.mark.parametrize(
    ("values", "dtype", "expected", "warned"),
    [
        ([0, 7, 255], "u1", [0, 7, 255], False),
        ([0, 1], "u1", [0, 1], False),
        ([0, 1], ">i4", [0, 1], False),
        ([0, 255], "u2", [0, 255], False),
        ([0, 1023], "u2", [0, 255], True),
        ([0, 4095], "u2", [0, 255], True),
        ([257, 65535], ">u2", [1, 255], True),
        ([0, 0.5, 1], "f4", [0, 128, 255], True),
        ([0, 0], "f8", [0, 0], False),
        ([0, 200], "f8", [0, 200], False),
        ([np.nan, 200], "f8", [0, 200], True),
    ],
)
def test_colors_of_any_scale(values, dtype, expected, warned):
    rgb, warnings = color(*values, dtype=dtype)
    assert rgb == expected
    assert bool(warnings) == warned


@pytest.mark.parametrize("values", [[-1, 5], [0, 70000]])
def test_what_is_no_color(values):
    with pytest.raises(BadCloud, match="Colors run from"):
        color(*values)


def test_one_scale_for_all_channels():
    dark, bright = np.array([10], "u2"), np.array([51400], "u2")
    assert rgb8(dark, dark, bright)[0].tolist() == [[0, 0, 200]]


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("X", "x"),
        ("scalar_Intensity", "intensity"),
        ("ReturnNumber", "return_number"),
        ("GpsTime", "gps_time"),
        ("q", "q"),
    ],
)
def test_meaning_of_names(name, meaning):
    assert canonical(name) == meaning


def test_options_give_canonical_names():
    assert check_columns(("X", "y", "z", "_", "_", "R")) == ("x", "y", "z", "_", "_", "red")
    with pytest.raises(BadRequest, match="names 'y' more than once"):
        check_columns(("x", "y", "z", "Y"))


def test_half_a_color_is_no_color():
    ones = np.ones(2)
    cloud = cloud_from_columns("text", [(name, ones) for name in ("x", "y", "z", "R", "g", "ny", "Class")])
    assert cloud.rgb is None
    assert cloud.normals is None
    assert sorted(cloud.extra) == ["R", "classification", "g", "ny"]


@given(st.lists(st.sampled_from(NAMES), max_size=12), st.sampled_from(["<f4", ">f8", "u1", ">u2", "<i8", "?"]))
def test_any_columns_are_a_sound_cloud_or_a_problem(names, dtype):
    table = np.arange(4 * len(names)).reshape(4, len(names)).astype(dtype)
    if not {"x", "y", "z"} <= {canonical(name) for name in names}:
        with pytest.raises(BadCloud, match="No columns x, y and z"):
            cloud_from_columns("text", zip(names, table.T, strict=True))
        return
    cloud = check_cloud(cloud_from_columns("text", zip(names, table.T, strict=True)))
    place = names.index("x") if "x" in names else [canonical(name) for name in names].index("x")
    assert cloud.xyz[:, 0].tolist() == table[:, place].tolist()
    assert SKIP not in cloud.extra


@pytest.mark.parametrize("dtype", ["<u4", ">i8", "<u8"])
def test_intensities_that_float32_rounds_are_kept_beside_it_and_counted(dtype):
    values = np.array([1, 2**24, 2**24 + 1, 2**31 - 1], dtype)
    cloud = cloud_from_columns("pcd", [*zip("xyz", np.zeros((3, 4)), strict=True), ("reflectivity", values)])
    np.testing.assert_array_equal(cloud.intensity, values.astype(np.float32))
    np.testing.assert_array_equal(cloud.extra["reflectivity"], values)
    assert "rounds 2 values of reflectivity;" in cloud.warnings[0]
    exact = cloud_from_columns("pcd", [*zip("xyz", np.zeros((3, 2)), strict=True), ("intensity", values[:2])])
    assert (exact.extra, exact.warnings) == ({}, [])
