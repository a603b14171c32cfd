import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.errors import BadCloud, BadRequest, TooLarge, UnsupportedFormat
from tests.clouds.cloud_samples import RGB, XYZ

NORMALS = np.tile(np.array([0, 0.6, 0.8], np.float32), (3, 1))
SCENE = {
    "coord": XYZ.astype(np.float32),
    "color": RGB,
    "normal": NORMALS,
    "scene_id": "scene0000_00",
    "semantic_gt20": np.array([3, 4, -1]),
    "instance_gt": np.array([[0], [1], [2]], np.int16),
}


def saved(value: object, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def read(data: bytes, **options) -> Cloud:
    return formats.read(memoryview(data), **options)


WRITERS = {
    "zip": saved,
    "stream": lambda value: saved(value, zipped=False),
    **{f"pickle {n}": (lambda value, n=n: pickle.dumps(value, n)) for n in (2, 3, 4, 5)},
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("filename", ["", "scene0000_00.pth", "a.txt"])
def test_scene_of_arrays(write, filename):
    found = read(write(SCENE), filename=filename)
    assert found.format == "pth"
    assert found.xyz.tolist() == XYZ.astype(np.float32).tolist()
    assert found.rgb.tolist() == RGB.tolist()
    assert found.normals.tolist() == NORMALS.tolist()
    assert found.extra["segment"].tolist() == [3, 4, -1]
    assert found.extra["instance"].tolist() == [0, 1, 2]
    assert found.warnings == []


@pytest.mark.parametrize("zipped", [True, False])
def test_scene_of_tensors(zipped):
    scene = {
        "coord": torch.from_numpy(XYZ).T.contiguous().T,
        "strength": torch.tensor([0.25, 0.5, 1]).bfloat16(),
        "color": torch.arange(18, dtype=torch.uint8).reshape(3, 6)[:, 3:],
    }
    found = read(saved(scene, zipped))
    assert found.xyz.tolist() == XYZ.tolist()
    assert found.rgb.tolist() == [[3, 4, 5], [9, 10, 11], [15, 16, 17]]
    assert (found.intensity.tolist(), found.intensity_scale) == ([0.25, 0.5, 1], 1)


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f2", ">i4", "<u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_and_orders(dtype, order):
    array = np.asarray(XYZ % 100, dtype=dtype, order=order)
    for protocol in (2, 5):
        assert read(pickle.dumps({"xyz": array}, protocol)).xyz.tolist() == array.tolist()


def test_one_array_is_read_as_npy():
    assert read(saved(np.hstack([XYZ, RGB]))).rgb.tolist() == RGB.tolist()
    assert read(saved(torch.from_numpy(XYZ))).xyz.tolist() == XYZ.tolist()


def test_names_feed_channels():
    scene = {"a": XYZ, "b": np.array([1.0, 2, 3])}
    found = read(saved(scene), columns=("x:a_0", "y:a_1", "z:a_2", "intensity:b"))
    assert (found.xyz.tolist(), found.intensity.tolist()) == (XYZ.tolist(), [1, 2, 3])
    with pytest.raises(BadRequest, match="several arrays"):
        read(saved(SCENE), columns=("x", "y", "z"))


class Calls:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_nothing_in_it_is_run(tmp_path, write):
    marker = tmp_path / "marker"
    evil = Calls(os.system, f"touch {marker}")
    assert len(read(write({**SCENE, "evil": evil}))) == 3
    with pytest.raises(BadCloud, match="objects of a program"):
        read(write(evil))
    with pytest.raises(BadCloud, match="called coord"):
        read(write({"coord": evil, "color": RGB}))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"state_dict": {"a": torch.ones(2)}, "epoch": 3}, UnsupportedFormat, "a checkpoint, the weights of a network"),
        ({"a": torch.ones(2), "b": torch.ones(3)}, UnsupportedFormat, "a checkpoint"),
        ({"color": RGB, "normal": NORMALS}, BadCloud, "called coord"),
        ({"coord": XYZ, "color": RGB[:2]}, BadCloud, "'color' holds uint8"),
        ({"coord": XYZ[:, :2]}, BadCloud, "expected (N, 3)"),
        ({"coord": XYZ.tolist()}, BadCloud, "no arrays of numbers, but coord"),
        ({"coord": np.array([None, "a"])}, BadCloud, "no arrays of numbers"),
        ({}, BadCloud, "no arrays"),
        ([XYZ, RGB], BadCloud, "a list; expected a dict of arrays"),
        (np.zeros((0, 3)), BadCloud, "no points"),
        (torch.nn.Linear, BadCloud, "objects of a program"),
        ({str(i): XYZ for i in range(65)}, BadCloud, "65 arrays"),
    ],
)
def test_what_is_no_scene_is_named(value, error, message):
    with pytest.raises(error) as raised:
        read(saved(value))
    assert message in raised.value.detail


def test_arrays_that_share_their_numbers_do_not_grow():
    array = np.zeros((10_000, 3))
    tensor = torch.from_numpy(array)
    for scene in ({str(i): array for i in range(60)}, {str(i): tensor for i in range(60)}):
        with pytest.raises(BadCloud, match="share"):
            read(saved({"coord": array, **scene}))


def test_cut_anywhere_is_a_problem():
    for write in WRITERS.values():
        data = write(SCENE)
        for size in range(1, len(data), 7):
            with pytest.raises((BadCloud, UnsupportedFormat)):
                read(data[:size], filename="a.pth")


def test_more_points_than_allowed():
    with pytest.raises(TooLarge):
        read(saved(SCENE), max_points=2)


def test_a_zip_that_was_packed_again():
    source = zipfile.ZipFile(io.BytesIO(saved(SCENE)))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
    with pytest.raises(BadCloud, match=r"is compressed; torch.save stores records as they are"):
        read(file.getvalue())
