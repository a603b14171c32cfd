import contextlib

import numpy as np
import pytest

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.errors import BadCloud, BadRequest, Problem, TooLarge, UnsupportedFormat
from tests.clouds.cloud_samples import RGB, XYZ, cloud, npy, segmentation


def read(data: bytes | np.ndarray, **options) -> Cloud:
    return formats.read(memoryview(data if isinstance(data, bytes) else npy(data)), **options)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2", "<i2", ">i4", "<u8", "i1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_dtype_and_order(dtype, order):
    table = np.array([[1, 2, 3], [4, 5, 6]], dtype, order=order)
    read_cloud = read(table)
    assert read_cloud.xyz.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert read_cloud.xyz.dtype == np.float64
    assert read_cloud.format == "npy"
    assert read_cloud.warnings == []


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version(version, tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, XYZ, version)
    assert read(path.read_bytes()).xyz.tolist() == XYZ.tolist()


def test_more_columns():
    assert read(np.hstack([XYZ, RGB])).rgb.tolist() == RGB.tolist()
    normals = np.tile([0.6, 0, -0.8], (3, 1))
    assert np.allclose(read(np.hstack([XYZ, normals])).normals, normals)
    assert read(np.hstack([XYZ, [[1], [2], [3]]])).intensity.tolist() == [1, 2, 3]
    named = read(np.hstack([XYZ, RGB, [[7], [8], [9]]]), columns=("x", "y", "z", "r", "g", "b", "label"))
    assert named.rgb.tolist() == RGB.tolist()
    assert named.extra["label"].tolist() == [7, 8, 9]
    with pytest.raises(BadCloud, match="5 columns without names"):
        read(np.zeros((2, 5)))
    with pytest.raises(BadCloud, match="names 4 columns, but the array has 5"):
        read(np.zeros((2, 5)), columns=("x", "y", "z", "_"))


def test_named_fields():
    table = np.zeros(2, [("Z", ">f8"), ("y", "<f4"), ("x", "<i2"), ("color", "u1", 3), ("strength", "<u2"), ("t", "?")])
    table["Z"], table["y"], table["x"] = [1, 2], [3, 4], [5, 6]
    table["color"], table["strength"], table["t"] = [[9, 8, 7], [6, 5, 4]], [0, 65535], [True, False]
    found = read(table)
    assert found.xyz.tolist() == [[5, 3, 1], [6, 4, 2]]
    assert found.rgb.tolist() == [[9, 8, 7], [6, 5, 4]]
    assert (found.intensity.tolist(), found.intensity_scale) == ([0, 65535], 65535)
    assert found.extra["t"].tolist() == [1, 0]
    with pytest.raises(BadRequest, match="fields have names"):
        read(table, columns=("x", "y", "z"))


def test_nothing_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    with pytest.raises(BadCloud, match="pickled"):
        read(npy(np.array([[Bomb()] * 3], object)))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 3)), "no points"),
        (np.zeros((5, 2)), "shape"),
        (np.zeros((2, 4, 3)), "shape"),
        (np.zeros(9), "shape"),
        (np.float64(3), "shape"),
        (np.zeros((2, 3), complex), "not numbers"),
        (np.zeros((2, 3), "M8[s]"), "not numbers"),
        (np.array([["1", "2", "3"]]), "not numbers"),
        (np.zeros(3, [("a", "f4"), ("b", "f4")]), "No columns x, y and z; found: a, b"),
        (np.zeros(3, [("x", "f4"), ("y", "U3"), ("z", "f4")]), "'y' holds"),
    ],
)
def test_arrays_that_are_no_points(array, message):
    with pytest.raises(BadCloud) as raised:
        read(array)
    assert message in raised.value.detail


def with_header(text: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + body


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3), }", "24,000,000,000,000 bytes"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3), }", "negative"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (2.5, 3), }", "damaged"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1, 3), }", "objects"),
        ("{'descr': '|V0', 'fortran_order': False, 'shape': (99999999, 3), }", "not numbers"),
        ("{'descr': 'nonsense', 'fortran_order': False, 'shape': (1, 3), }", "damaged"),
        ("__import__('os').system('true')", "damaged"),
        ("(" * 9000, "damaged"),
        ("-" * 9000 + "1", "damaged"),
        ("", "damaged"),
    ],
)
def test_headers_that_lie(header, message):
    with pytest.raises(BadCloud) as raised:
        read(with_header(header, b"\0" * 48))
    assert message in raised.value.detail


def test_cut_anywhere_is_a_problem():
    data = npy(XYZ)
    for size in range(1, len(data)):
        with pytest.raises(Problem):
            read(data[:size])


def test_any_damaged_byte_is_a_cloud_or_a_problem():
    data = npy(XYZ.astype(np.float32))
    for position in range(len(data)):
        with contextlib.suppress(BadCloud, UnsupportedFormat):
            assert len(read(data[:position] + bytes([data[position] ^ 0xA5]) + data[position + 1 :])) > 0


def test_more_points_than_allowed():
    with pytest.raises(TooLarge):
        read(np.zeros((4, 3)), max_points=3)


def test_writing_gives_the_labels(tmp_path):
    path = tmp_path / "labels.npy"
    path.write_bytes(formats.write("npy", cloud(), segmentation()))
    labels = np.load(path)
    assert labels.dtype == np.int32
    assert labels.tolist() == [0, 1, -1]


def test_fields_that_hold_no_numbers_are_left_out():
    kinds = [("x", "f8"), ("name", "U4"), ("y", "f8"), ("z", "f8"), ("day", "M8[D]"), ("flag", "?")]
    found = read(npy(np.array([(1, "oak", 2, 3, "2020-01-01", True)], kinds)))
    assert found.xyz.tolist() == [[1, 2, 3]]
    assert {name: values.tolist() for name, values in found.extra.items()} == {"flag": [1]}
    assert found.warnings == ["Fields that do not hold numbers were left out: 'name', 'day'."]
    with pytest.raises(BadCloud, match="Column 'z' holds <U1, not numbers"):
        read(npy(np.array([(1, 2, "3")], [("x", "f8"), ("y", "f8"), ("z", "U1")])))
