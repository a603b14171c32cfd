import os
from dataclasses import replace

import numpy as np
import pytest

from app.clouds.cloud import ClassInfo, Cloud, InstanceInfo, Segmentation, SegmentationMeta
from app.clouds.fields import FIELDS
from app.engine import arrays
from app.engine.packed import (
    Packed,
    check_cloud,
    check_segmentation,
    pack_cloud,
    pack_segmentation,
    unpack_cloud,
    unpack_segmentation,
)
from app.engine.protocol import ArraySpec, CloudMeta


@pytest.fixture
def file():
    """Three float64 and five bytes."""
    fd, layout = arrays.pack({"a": np.arange(3.0), "b": np.arange(5, dtype=np.uint8)})
    yield fd, layout
    os.close(fd)


def test_arrays_come_back_equal_aligned_writable_and_after_the_descriptor_is_closed():
    given = {
        "plain": np.arange(6, dtype=np.float32).reshape(2, 3),
        "big_endian": np.array([1, 2, 3], ">i4"),
        "strided": np.arange(20, dtype=np.int64)[::3],
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3)),
        "scalar": np.array(4.5),
    }
    fd, layout = arrays.pack(given)
    back = arrays.unpack(fd, layout)
    os.close(fd)
    for name, values in given.items():
        np.testing.assert_array_equal(back[name], values)
        assert back[name].ctypes.data % 64 == 0
        assert back[name].dtype.isnative
    back["plain"][0, 0] = 7.0


def test_packed_file_can_no_longer_change(file):
    fd, layout = file
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    arrays.unpack(fd, layout)["a"][0] = 9.0
    assert arrays.unpack(fd, layout)["a"][0] == 0.0


LARGE = (1 << 14, 3)


def filled(file: arrays.ArrayFile, value: float) -> np.ndarray:
    array = file.empty(LARGE, np.dtype(float))
    array[:] = value
    return array


def test_arrays_made_in_a_file_are_found_there_beside_others_that_are_copied():
    with arrays.ArrayFile() as file:
        given = {"made": filled(file, 1.0), "flat": filled(file, 2.0).reshape(-1), "small": np.arange(3.0)}
        given["reversed"] = filled(file, 3.0)[::-1]
        given["part"] = filled(file, 4.0)[1:]
        given["again"] = given["made"]
        given["other"] = filled(other := arrays.ArrayFile(), 5.0)
        expected = {name: values.copy() for name, values in given.items()}
        layout = file.add(given)
        places = [file._place(values) for values in given.values()]
        del given
        fd = file.seal()
    os.close(other.seal())
    back = arrays.unpack(fd, layout)
    assert [spec.offset for spec in layout[:2]] == [0, expected["made"].nbytes]
    assert places == [None] * len(expected)  # each is given away once
    for name, values in expected.items():
        np.testing.assert_array_equal(back[name], values)
    os.close(fd)


def test_what_was_made_and_not_added_takes_no_memory():
    with arrays.ArrayFile() as file:
        filled(file, 1.0)
        layout = file.add({"a": filled(file, 2.0)})
        fd = file.seal()
    nbytes = np.dtype(float).itemsize * LARGE[0] * LARGE[1]
    assert os.fstat(fd).st_blocks * 512 == nbytes
    np.testing.assert_array_equal(arrays.unpack(fd, layout)["a"], np.full(LARGE, 2.0))
    os.close(fd)


def test_array_that_is_still_in_use_cannot_change_what_was_sealed():
    with arrays.ArrayFile() as file:
        array = filled(file, 1.0)
        layout = file.add({"a": array})
        fd = file.seal()
    array[:] = 9.0
    np.testing.assert_array_equal(arrays.unpack(fd, layout)["a"], np.full(LARGE, 1.0))
    os.close(fd)


def test_large_array_beyond_the_memory_is_a_memory_error():
    with arrays.ArrayFile() as file, pytest.raises(MemoryError):
        file.empty((1 << 47,), np.dtype(np.uint8))


def test_parts_of_a_file_follow_each_other_whatever_they_are():
    table = np.arange(12, dtype=">f4").reshape(4, 3)
    records = np.zeros(3, [("a", "<i2"), ("b", "u1")])
    parts = [b"head", table.data, b"", np.zeros((0, 3)).data, records.data, memoryview(b"tail")[1:]]
    fd = arrays.pack_bytes(parts)
    whole = os.pread(fd, 1000, 0)
    os.close(fd)
    assert whole == b"head" + table.tobytes() + records.tobytes() + b"ail"


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([{}]), np.array([1j]), np.zeros(2, [("x", "f4")])])
def test_only_numbers_can_be_packed(values):
    with pytest.raises(ValueError, match="expected integers"):
        arrays.pack({"a": values})


@pytest.mark.parametrize(
    "spec",
    [
        ArraySpec("a", "<f8", (1 << 40,), 0),
        ArraySpec("a", "<f8", (1 << 33, 1 << 33), 0),
        ArraySpec("a", "<f8", (3,), 128),
        ArraySpec("a", "<f8", (3,), -64),
        ArraySpec("a", "<f8", (1,), 8),
        ArraySpec("a", "<f8", (-3,), 0),
        ArraySpec("a", "|O", (3,), 0),
        ArraySpec("a", "<U4", (3,), 0),
        ArraySpec("a", "nonsense", (3,), 0),
    ],
)
def test_layout_that_the_file_does_not_hold_is_refused(file, spec):
    with pytest.raises(ValueError, match="array 'a'"):
        arrays.check(file[0], [spec])


def test_name_twice_is_refused(file):
    with pytest.raises(ValueError, match="array 'a'"):
        arrays.check(file[0], [file[1][0]] * 2)


def test_file_that_its_sender_could_still_shrink_is_refused(tmp_path):
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(fd, bytes(64))
    with pytest.raises(ValueError, match="not sealed"):
        arrays.check(fd, [])
    os.close(fd)
    with open(tmp_path / "file", "wb") as plain, pytest.raises(ValueError, match="no memory file"):
        arrays.check(plain.fileno(), [])


def full_cloud() -> Cloud:
    rng = np.random.default_rng(0)
    return Cloud(
        xyz=rng.normal(size=(4, 3)) * 1e6,
        format="laz",
        rgb=rng.integers(0, 256, (4, 3)).astype(np.uint8),
        intensity=rng.random(4).astype(np.float32),
        intensity_scale=np.float32(255.0),
        normals=rng.random((4, 3)).astype(np.float32),
        extra={"classification": np.arange(4, dtype=np.uint8), "gps_time": rng.random(4), "näme/ ": np.arange(4)},
        warnings=["one", "two"],
        num_context=3,
    )


def test_cloud_comes_back_equal():
    cloud = full_cloud()
    with pack_cloud(cloud) as packed:
        back = unpack_cloud(packed)
        assert packed.num_points == 4
    for name in ("xyz", "rgb", "intensity", "normals"):
        np.testing.assert_array_equal(getattr(back, name), getattr(cloud, name))
        assert getattr(back, name).dtype == getattr(cloud, name).dtype
    assert list(back.extra) == list(cloud.extra)
    for name, values in cloud.extra.items():
        np.testing.assert_array_equal(back.extra[name], values)
    assert (back.format, back.intensity_scale, back.warnings) == ("laz", 255.0, ["one", "two"])
    assert (back.num_context, back.num_answered) == (3, 1)


@pytest.mark.parametrize("num_context", [-1, 5])
def test_a_context_of_other_points_than_the_cloud_has_is_refused(num_context):
    cloud = replace(full_cloud(), num_context=num_context)
    with pack_cloud(cloud) as packed, pytest.raises(ValueError, match=f"{num_context} of 4 points are context"):
        unpack_cloud(packed)


def test_bare_cloud_stays_bare():
    with pack_cloud(Cloud(np.zeros((2, 3)), "npy")) as packed:
        back = unpack_cloud(packed)
    assert back.rgb is None
    assert back.intensity is None
    assert back.normals is None
    assert back.extra == {}


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"rgb": np.zeros((3, 3), np.uint8)},
        {"xyz": np.zeros((3, 3), np.float32)},
        {"xyz": np.zeros((3, 2))},
        {"xyz": np.zeros(3)},
        {"xyz": np.array(1.0)},
        {"xyz": np.zeros((3, 3)), "rgb": np.zeros((2, 3), np.uint8)},
        {"xyz": np.zeros((3, 3)), "format": np.zeros(3)},
        {"xyz": np.zeros((3, 3)), "extra/a": np.zeros(2)},
        {"xyz": np.zeros((3, 3)), "extra/a": np.zeros((3, 2))},
    ],
)
def test_arrays_that_make_no_cloud_are_refused(columns):
    fd, layout = arrays.pack(columns)
    with Packed(fd, layout, CloudMeta("npy")) as packed, pytest.raises(ValueError, match="array"):
        check_cloud(packed)


def test_segmentation_comes_back_equal():
    classes = [ClassInfo(2, "ground", (1, 2, 3), 2), ClassInfo(9, "water", (4, 5, 6))]
    meta = SegmentationMeta(
        classes,
        instances=[InstanceInfo(0, 2, 0.5, 1)],
        model="m",
        request_id="r",
        warnings=["w"],
        timings_ms={"network": np.float64(1.5)},
    )
    random = np.random.default_rng(0)
    shapes = {name: (3, *field.row_shape(len(classes), 4)) for name, field in FIELDS.items()}
    fields = {name: random.integers(0, 9, shapes[name]).astype(field.dtype) for name, field in FIELDS.items()}
    fields["height_above_ground"][1] = np.nan
    given = Segmentation(np.array([2, 9, -1], np.int32), meta, fields)
    with pack_segmentation(given) as packed:
        back = unpack_segmentation(packed)
    assert back.meta == meta
    assert list(back.arrays) == list(given.arrays)
    for name, values in given.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], values)


def test_probabilities_of_another_number_of_classes_are_refused():
    fd, layout = arrays.pack({"labels": np.zeros(3, np.int32), "probabilities": np.zeros((3, 5), np.float32)})
    meta = SegmentationMeta([ClassInfo(0, "a", (0, 0, 0))], -1)
    with Packed(fd, layout, meta) as packed, pytest.raises(ValueError, match="probabilities"):
        check_segmentation(packed)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (3, 4, 1)])
def test_features_that_are_no_rows_of_the_points_are_refused(shape):
    fd, layout = arrays.pack({"labels": np.zeros(3, np.int32), "features": np.zeros(shape, np.float32)})
    with Packed(fd, layout, SegmentationMeta([], -1)) as packed, pytest.raises(ValueError, match="features"):
        check_segmentation(packed)


def test_shared_file_lives_until_its_last_owner_closes():
    packed = pack_cloud(full_cloud())
    second = packed.share()
    packed.close()
    packed.close()
    assert len(unpack_cloud(second)) == 4
    second.close()
