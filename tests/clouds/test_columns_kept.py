"""What points have beside coordinates and labels, in the answer of every format that is not the one that came in."""

import io

import laspy
import numpy as np
import plyfile
import pytest

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.errors import BadCloud
from tests.clouds.cloud_samples import npz, segmentation

POINTS = 50
RNG = np.random.default_rng(8)
COLUMNS = {
    "return_number": np.arange(POINTS, dtype=np.uint8) % 7 + 1,
    "height above ground": RNG.normal(size=POINTS),
    "height_above_ground": RNG.normal(size=POINTS).astype(np.float32),
    "label": np.arange(POINTS, dtype=np.int64) - 5,
    "confidence": np.arange(POINTS, dtype=np.uint16),
    "signed": np.arange(POINTS, dtype=np.int8) - 20,
    "short": np.arange(POINTS, dtype=np.int16) - 300,
    "unsigned": np.arange(POINTS, dtype=np.uint32) + 2**31,
    "wide": np.arange(POINTS, dtype=np.uint64) + 2**53,
    "half": RNG.normal(size=POINTS).astype(np.float16),
    "rgb": RNG.normal(size=POINTS).astype(np.float32),
    "ma\u00df": RNG.normal(size=POINTS),
}


def full_cloud() -> Cloud:
    return Cloud(
        RNG.uniform(600_000, 600_100, (POINTS, 3)),
        "e57",
        rgb=RNG.integers(0, 256, (POINTS, 3), dtype=np.uint8),
        intensity=RNG.random(POINTS).astype(np.float32),
        normals=RNG.normal(size=(POINTS, 3)).astype(np.float32),
        extra=COLUMNS,
    )


def answered(output: str, cloud: Cloud):
    answer = segmentation(POINTS, confidence=np.linspace(0, 1, POINTS, dtype=np.float32))
    return formats.write(output, cloud, answer), answer


@pytest.mark.parametrize("output", ["ply", "pcd", "las", "laz"])
def test_files_of_points_hold_every_column(output):
    given = full_cloud()
    data, answer = answered(output, given)
    back = formats.read(memoryview(data))
    np.testing.assert_allclose(back.xyz, given.xyz, atol=1e-4 if output in ("las", "laz") else 0)
    np.testing.assert_array_equal(back.rgb, given.rgb)
    np.testing.assert_array_equal(back.normals, given.normals)
    names = set(back.extra)
    for name, values in given.extra.items():
        with np.errstate(invalid="ignore", over="ignore"):
            found = [other for other in names if np.array_equal(back.extra[other].astype(values.dtype), values)]
        assert found or name == "wide", name
    if output in ("las", "laz"):
        np.testing.assert_array_equal(back.extra["original_intensity"], given.intensity)
    else:
        np.testing.assert_array_equal(back.intensity, given.intensity)
    label = {"ply": "predicted_label", "pcd": "label_2"}.get(output, "label")
    if output in ("ply", "pcd"):
        np.testing.assert_array_equal(back.extra[label], answer.labels)
    if output in ("ply", "pcd"):
        assert any("'height above ground' is 'height_above_ground'" in warning for warning in answer.meta.warnings)
    rounded = f"PLY has no whole numbers of 64 bits: {POINTS // 2} values of wide were rounded."
    assert (rounded in answer.meta.warnings) == (output == "ply")


def test_ply_is_read_by_others():
    given = full_cloud()
    vertex = plyfile.PlyData.read(io.BytesIO(answered("ply", given)[0]))["vertex"]
    np.testing.assert_array_equal(vertex["x"], given.xyz[:, 0])
    np.testing.assert_array_equal(vertex["height_above_ground"], COLUMNS["height above ground"])
    np.testing.assert_array_equal(vertex["height_above_ground_2"], COLUMNS["height_above_ground"])
    assert {name: vertex[name].dtype.str[1:] for name in ("signed", "short", "unsigned", "label", "half")} == {
        "signed": "i1", "short": "i2", "unsigned": "u4", "label": "i4", "half": "f4",
    }  # fmt: skip


@pytest.mark.parametrize("values", [np.float32(RNG.uniform(0, 9, (POINTS, 3))), RNG.uniform(0, 9, (POINTS, 3))])
def test_coordinates_are_float_in_ply_only_where_they_are(values):
    data, answer = answered("ply", Cloud(values.astype(np.float64), "npy"))
    np.testing.assert_array_equal(formats.read(memoryview(data)).xyz, values)
    assert (b"float x" in data) == (values.dtype == np.float32)
    assert answer.meta.warnings == []


def test_pcd_says_how_far_it_moved_coordinates():
    xyz = RNG.uniform(0, 9, (POINTS, 3))
    data, answer = answered("pcd", Cloud(xyz, "npy"))
    moved = np.abs(formats.read(memoryview(data)).xyz - xyz).max()
    assert answer.meta.warnings == [f"Coordinates are float32 in PCD, which moved them by at most {moved:.1g}."]
    assert b"SIZE 4 4 4 4 4" in data


def test_pcd_says_which_fields_of_the_file_it_overwrote():
    head = "FIELDS x y z label\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 1\nWIDTH 2\nHEIGHT 1\nPOINTS 2\nDATA ascii\n"
    data = memoryview((head + "1 2 3 0\n4 5 6 1\n").encode())
    answer = segmentation(2)
    back = formats.read(memoryview(formats.write("pcd", formats.read(data), answer, data)))
    assert list(back.extra) == ["label"]
    assert answer.meta.warnings == ["The file's own field label was overwritten."]


@pytest.mark.parametrize(("output", "name"), [("csv", "CSV"), ("npz", "NPZ")])
def test_answers_of_coordinates_and_labels_name_what_they_leave_out(output, name):
    _, answer = answered(output, full_cloud())
    told = [warning for warning in answer.meta.warnings if warning.startswith(f"{name} holds coordinates and labels")]
    assert f"left out: {len(COLUMNS) + 3} columns (colors, intensity, normals, return_number" in told[0]
    _, answer = answered(output, Cloud(np.zeros((POINTS, 3)), "npy"))
    assert answer.meta.warnings == []


def test_normals_of_a_las_file_are_the_clouds():
    given = full_cloud()
    data = answered("las", given)[0]
    cloud = formats.read(memoryview(data))
    np.testing.assert_array_equal(cloud.normals, given.normals)
    assert cloud.columns["normal_x"] == ["nx"]
    assert formats.read(memoryview(data), columns=("nx:_",)).normals is None
    las = laspy.read(io.BytesIO(data))
    las.points["normal_x"][:] = 0.5
    out = io.BytesIO()
    las.write(out)
    np.testing.assert_array_equal(formats.read(memoryview(out.getvalue())).normals[:, 0], 0.5)


@pytest.mark.parametrize("far", [1.1e13, 1e300, -1.7e308])
def test_coordinates_that_are_no_places_are_refused(far):
    xyz = RNG.uniform(0, 9, (POINTS, 3))
    xyz[: POINTS // 2, 1] = far
    assert len(formats.read(memoryview(npz(coord=xyz)))) == POINTS
    xyz[POINTS // 2, 1], xyz[-1] = far, np.nan
    with pytest.raises(BadCloud, match="26 of 49 points have coordinates beyond") as caught:
        formats.read(memoryview(npz(coord=xyz)))
    assert f"(up to {abs(far):.3g})" in caught.value.detail
