"""Extra Bytes records as they are found in files: several, too long, too short, with names that are taken."""

import io
import struct

import laspy
import numpy as np
import pytest

from app.clouds import las
from tests.clouds.las_samples import INDOOR, descriptors, file_with, segmentation

POINTS = 60
DESCRIPTOR_BYTES = 192
U1, U2, U4, I4, F4 = 1, 3, 5, 6, 9  # data types of the specification
PAIR_U2 = 13
WRITERS = {"las": las.write_las, "laz": las.write_laz}


def described(data):
    """Names and bytes of the dimensions in the one Extra Bytes record of ``data``, by hand, and the bytes there are."""
    header_size, _, count = struct.unpack_from("<HII", data, 94)
    length = struct.unpack_from("<H", data, 105)[0]
    records, at = [], header_size
    for _ in range(count):
        user, record, size = struct.unpack_from("<16sHH", data, at + 2)
        if (user.rstrip(b"\0"), record) == (b"LASF_Spec", 4):
            records.append(data[at + 54 : at + 54 + size])
        at += 54 + size
    assert len(records) == 1
    sizes = (1, 1, 2, 2, 4, 4, 8, 8, 4, 8)
    found = []
    for start in range(0, len(records[0]), DESCRIPTOR_BYTES):
        kind, options, name = struct.unpack_from("<2xBB32s", records[0], start)
        size = options if kind == 0 else sizes[(kind - 1) % 10] * ((kind - 1) // 10 + 1)
        found.append((name.rstrip(b"\0").decode(), size))
    return found, length - 30


def random_bytes(width):
    return np.random.default_rng(5).integers(0, 256, (POINTS, width), dtype=np.uint8)


def typed(extra, start, dtype):
    return np.ascontiguousarray(extra[:, start : start + np.dtype(dtype).itemsize]).view(dtype)[:, 0]


@pytest.mark.parametrize("output", WRITERS)
@pytest.mark.parametrize(
    ("records", "expected", "told"),
    [
        (
            [[("amp", U2, 0), ("width", U2, 0)], [("count", U4, 0)]],
            {"amp": (0, "<u2"), "width": (2, "<u2"), "count": (4, "<u4")},
            "2 Extra Bytes",
        ),
        (
            [[("amp", U2, 0)], [("amp", U2, 0), ("width", U2, 0), ("count", U4, 0)]],
            {"width": (2, "<u2"), "count": (4, "<u4")},
            "that fits",
        ),
        (
            [[("amp", U2, 0), ("width", U2, 0), ("count", U4, 0)]] * 3,
            {"amp": (0, "<u2"), "count": (4, "<u4")},
            "3 Extra Bytes",
        ),
        (
            [[("amp", U2, 0)], [("amp", U2, 0)], [("amp", U4, 0)]],
            {"amp": (0, "<u2"), "amp_2": (2, "<u2"), "amp_3": (4, "<u4")},
            "3 Extra Bytes",
        ),
        ([[("amp", U2, 0)]], {"amp": (0, "<u2")}, "last 6 bytes"),
        (
            [[("amp", U2, 0), ("far", F4, 0), ("further", F4, 0)]],
            {"amp": (0, "<u2")},
            "3 dimensions; the points hold 2",
        ),
        ([[("amp", U2, 0), ("odd", 99, 0)]], {"amp": (0, "<u2")}, "2 dimensions; the points hold 1"),
        (
            [[("pair", PAIR_U2, 0), ("count", U4, 0)]],
            {"pair_0": (0, "<u2"), "pair_1": (2, "<u2"), "count": (4, "<u4")},
            None,
        ),
        (
            [[("", 0, 2), ("empty", 0, 0), ("width", U2, 0), ("count", U4, 0)]],
            {"width": (2, "<u2"), "count": (4, "<u4")},
            None,
        ),
        (
            [[("intensity", U2, 0), ("x", U2, 0), ("", U4, 0)]],
            {"intensity_2": (0, "<u2"), "x_2": (2, "<u2"), "extra_3": (4, "<u4")},
            "intensity_2",
        ),
        (
            [[("b" * 32, U2, 0), ("b" * 32, U2, 0), ("count", U4, 0)]],
            {"b" * 32: (0, "<u2"), "b" * 30 + "_2": (2, "<u2")},
            "bbb_2",
        ),
    ],
)
def test_dimensions_of_odd_records(records, expected, told, output):
    extra = random_bytes(8)
    data = file_with(extra, *(descriptors(*record) for record in records))
    cloud = las.read(data)
    for name, (start, dtype) in expected.items():
        np.testing.assert_array_equal(cloud.extra[name], typed(extra, start, dtype), name)
    assert any(told in warning for warning in cloud.warnings) if told else cloud.warnings == []

    for fields in ({}, {"confidence": np.linspace(0, 1, POINTS, dtype=np.float32)}):
        answer = WRITERS[output](cloud, segmentation(POINTS, **fields), data)
        dimensions, num_bytes = described(answer)
        assert sum(size for _, size in dimensions) == num_bytes
        names = [name for name, _ in dimensions]
        assert len(set(names)) == len(names)
        back = laspy.read(io.BytesIO(answer))
        assert {vlr.record_data_bytes() for vlr in back.vlrs if vlr.user_id == "someone"} == {b"kept", b"kept too"}
        read_again = las.read(memoryview(answer))
        assert read_again.warnings == []
        for name in expected:
            np.testing.assert_array_equal(read_again.extra[name], cloud.extra[name])
        if fields:
            np.testing.assert_allclose(back["confidence"], fields["confidence"], atol=6e-5)


def test_a_dimension_of_the_second_record_feeds_a_channel():
    extra = random_bytes(4)
    data = file_with(extra, descriptors(("amp", U2, 0)), descriptors(("reflectance", U2, 0)))
    cloud = las.read(data, {"intensity": "reflectance"})
    np.testing.assert_array_equal(cloud.intensity, typed(extra, 2, "<u2"))


@pytest.mark.parametrize("width", [7, 8, 30, 255, 600])
def test_bytes_without_any_record_are_declared_before_a_new_dimension(width):
    extra = random_bytes(width)
    answer = las.write_las(
        las.read(file_with(extra)), segmentation(POINTS, confidence=np.ones(POINTS, np.float32)), file_with(extra)
    )
    dimensions, num_bytes = described(answer)
    assert sum(size for _, size in dimensions) == num_bytes == width + 2
    np.testing.assert_allclose(laspy.read(io.BytesIO(answer))["confidence"], 1)


def test_names_that_a_segmentation_adds_are_taken():
    extra = random_bytes(8)
    data = file_with(extra, descriptors(("label", U1, 0), ("confidence", U1, 0), ("label_2", U2, 0), ("n", U4, 0)))
    answer = segmentation(POINTS, INDOOR, ignored=[3], confidence=np.linspace(0, 1, POINTS, dtype=np.float32))
    back = laspy.read(io.BytesIO(las.write_laz(las.read(data), answer, data)))
    assert list(back.point_format.extra_dimension_names) == [
        "label", "confidence", "label_2", "n", "label_3", "confidence_2",
    ]  # fmt: skip
    np.testing.assert_array_equal(back["label"], extra[:, 0])
    np.testing.assert_array_equal(back["label_3"], answer.labels)
    np.testing.assert_allclose(back["confidence_2"], answer.fields["confidence"], atol=6e-5)


@pytest.mark.parametrize("output", WRITERS)
def test_a_name_in_latin_1_is_written_in_utf_8(output):
    data = file_with(random_bytes(2), descriptors((b"H\xf6he", U2, 0)))
    cloud = las.read(data)
    assert "H\xf6he" in cloud.extra
    answer = WRITERS[output](cloud, segmentation(POINTS, INDOOR), data)
    values = laspy.read(io.BytesIO(answer))["H\xf6he"]
    assert np.array_equal(values, cloud.extra["H\xf6he"])
