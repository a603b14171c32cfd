import contextlib
import io
import struct
import zipfile

import numpy as np
import pytest

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.errors import BadCloud, BadRequest, Problem, TooLarge, UnsupportedFormat
from tests.clouds.cloud_samples import RGB, XYZ, cloud, npy, npz, segmentation, zipped

NORMALS = np.tile(np.array([0, 0.6, 0.8], np.float32), (3, 1))
SAMPLE = {
    "coord.npy": npy(XYZ.astype(np.float32)),
    "color.npy": npy(RGB),
    "normal.npy": npy(NORMALS),
    "strength.npy": npy(np.array([[0.25], [0.5], [1]], np.float32)),
    "segment.npy": npy(np.array([3, 4, -1], np.int16)),
}


def read(data: bytes, **options) -> Cloud:
    return formats.read(memoryview(data), **options)


@pytest.mark.parametrize("folder", ["", "scene0000_00/", "../../deep/er/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_pointcept_sample(folder, method):
    found = read(zipped({folder + name: content for name, content in SAMPLE.items()}, method))
    assert found.xyz.tolist() == XYZ.astype(np.float32).tolist()
    assert found.rgb.tolist() == RGB.tolist()
    assert found.normals.tolist() == NORMALS.tolist()
    assert (found.intensity.tolist(), found.intensity_scale) == ([0.25, 0.5, 1], 1)
    assert found.extra["segment"].tolist() == [3, 4, -1]
    assert (found.format, found.warnings) == ("npz", [])


@pytest.mark.parametrize(
    ("coordinates", "colors", "normals", "intensity"),
    [
        ("xyz", "rgb", "normals", "intensity"),
        ("points", "colors", "normal", "strength"),
        ("coord", "Color", "NORMAL", "i"),
    ],
)
def test_names_of_arrays(coordinates, colors, normals, intensity):
    arrays = {coordinates: XYZ, colors: RGB / 255, normals: NORMALS, intensity: np.array([5, 6, 7])}
    found = read(npz(**arrays, ring=np.array([1, 2, 3]), pose=np.eye(4), names=np.array(["a"])))
    assert found.xyz.tolist() == XYZ.tolist()
    assert found.rgb.tolist() == RGB.tolist()
    assert found.normals.tolist() == NORMALS.tolist()
    assert (found.intensity.tolist(), found.intensity_scale) == ([5, 6, 7], None)
    assert found.extra["ring"].tolist() == [1, 2, 3]
    assert sum("left out" in warning for warning in found.warnings) == 2


def test_one_array_is_read_as_npy():
    assert read(npz(arr_0=np.hstack([XYZ, RGB]))).rgb.tolist() == RGB.tolist()
    assert read(npz(arr_0=XYZ), columns=("z", "y", "x")).xyz.tolist() == XYZ[:, ::-1].tolist()
    with pytest.raises(BadRequest, match="several arrays"):
        read(zipped(SAMPLE), columns=("z", "y", "x"))


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ({"a.las": b"LASF"}, UnsupportedFormat, "found a.las"),
        ({}, UnsupportedFormat, "found nothing"),
        ({"word/document.xml": b"<xml/>"}, UnsupportedFormat, "an Office document"),
        ({"color.npy": npy(RGB), "normal.npy": npy(NORMALS)}, BadCloud, "called coord"),
        ({**SAMPLE, "b/coord.npy": npy(XYZ)}, BadCloud, "more than once"),
        ({**SAMPLE, "color.npy": npy(RGB[:2])}, BadCloud, "'color' holds uint8 (2, 3)"),
        ({**SAMPLE, "color.npy": npy(np.array([None] * 3))}, BadCloud, "pickled"),
        ({**SAMPLE, "coord.npy": npy(np.zeros((3, 2)))}, BadCloud, "(3, 2)"),
        ({**SAMPLE, "coord.npy": npy(XYZ)[:-1]}, BadCloud, "72 bytes, but holds 71"),
        ({**SAMPLE, "coord.npy": b"hello"}, BadCloud, "damaged header"),
        ({f"{i}.npy": npy(XYZ) for i in range(65)}, BadCloud, "65 files"),
        ({**SAMPLE, "coord.npy": npy(np.zeros((0, 3)))}, BadCloud, "no points"),
    ],
)
def test_zips_that_are_no_clouds(entries, error, message):
    with pytest.raises(error) as raised:
        read(zipped(entries))
    assert message in raised.value.detail


def test_bombs_are_refused_before_they_inflate():
    bomb = zipped({"coord.npy": npy(np.zeros((10_000_000, 3), np.float32))})
    assert len(bomb) < 200_000
    with pytest.raises(BadCloud, match="would inflate to 120,000"):
        read(bomb)
    with pytest.raises(TooLarge):
        read(zipped({"coord.npy": npy(XYZ), "a.npy": npy(np.random.default_rng(0).bytes(70_000_000))}, 0), max_points=3)


def test_sizes_that_lie():
    data = bytearray(zipped({"coord.npy": npy(np.zeros((100, 3)))}))
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = (300).to_bytes(4, "little")
    with pytest.raises(BadCloud):
        read(bytes(data))


def test_encrypted_and_foreign_compression():
    data = bytearray(zipped(SAMPLE))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BadCloud, match="encrypted"):
        read(bytes(data))
    with pytest.raises(BadCloud, match="compressed by method 14"):
        read(zipped(SAMPLE, zipfile.ZIP_LZMA))


def test_cut_anywhere_is_a_problem():
    data = zipped({"coord.npy": SAMPLE["coord.npy"], "color.npy": SAMPLE["color.npy"]})
    for size in range(1, len(data)):
        with pytest.raises(Problem):
            read(data[:size])


def test_any_damaged_byte_is_a_cloud_or_a_problem():
    data = zipped({"coord.npy": SAMPLE["coord.npy"], "color.npy": SAMPLE["color.npy"]})
    for position in range(len(data)):
        with contextlib.suppress(BadCloud, UnsupportedFormat):
            assert len(read(data[:position] + bytes([data[position] ^ 0xA5]) + data[position + 1 :])) == 3


def test_more_points_than_allowed():
    with pytest.raises(TooLarge):
        read(zipped(SAMPLE), max_points=2)


def test_writing_and_reading_back():
    probabilities = np.array([[0.75, 0.25], [0.5, 0.5], [0, 0]], np.float32)
    confidence = np.array([0.75, 0.5, 0], np.float32)
    out = formats.write("npz", cloud(), segmentation(confidence=confidence, probabilities=probabilities))
    arrays = np.load(io.BytesIO(out))
    assert arrays["labels"].tolist() == [0, 1, -1]
    assert arrays["probabilities"].tolist() == probabilities.tolist()
    assert arrays["class_names"].tolist() == ["ground", "big, red building"]
    assert arrays["ignore_label"] == -1
    back = read(out)
    assert back.xyz.tolist() == XYZ.tolist()
    assert back.extra["labels"].tolist() == [0, 1, -1]
    assert back.extra["probabilities_0"].tolist() == [0.75, 0.5, 0]


def test_a_directory_of_very_many_entries_is_not_read(monkeypatch):
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, *[0] * 4, *[0] * 3, 1, *[0] * 6) + b"a"
    directory = entry * 30_000
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(directory), 4, 0)
    large = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), 4)
    large += struct.pack("<4sIQI", b"PK\6\7", 0, 4 + len(directory), 1)
    large_end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 2**32 - 1, 2**32 - 1, 0)
    monkeypatch.setattr("zipfile.ZipFile", None)  # would take memory for each
    for tail in (end, large + large_end, end[:-2] + b"\x03\0abc", end[:-6] + b"PK\5\6\0\0"):
        with pytest.raises(BadCloud, match="thousands of files"):
            formats.read(memoryview(b"PK\3\4" + directory + tail))


def test_objects_that_are_not_needed_stay_closed():
    arrays = {"coord.npy": npy(XYZ), "meta.npy": npy(np.array({"name": "a"}, object))}
    found = read(zipped(arrays))
    assert (found.xyz.tolist(), list(found.extra)) == (XYZ.tolist(), [])
    assert found.warnings == ["Array 'meta' has no number for each point and was left out."]
    with pytest.raises(BadCloud, match="'color' holds pickled objects"):
        read(zipped(arrays | {"color.npy": npy(np.full((3, 3), None, object))}))


def test_an_array_for_each_axis():
    found = read(npz(X=XYZ[:, 0], y=XYZ[:, 1], z=XYZ[:, 2], intensity=np.arange(3, dtype=np.uint8)))
    assert (found.xyz.tolist(), found.intensity.tolist()) == (XYZ.tolist(), [0, 1, 2])
    with pytest.raises(BadCloud, match="No columns x, y and z; found: x, y"):
        read(npz(x=XYZ[:, 0], y=XYZ[:, 1]))
