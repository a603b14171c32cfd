import numpy as np
import pytest

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.errors import BadCloud, BadRequest, TooLarge, UnsupportedFormat

RNG = np.random.default_rng(0)


def read(table: np.ndarray, **options) -> Cloud:
    return formats.read(memoryview(np.asarray(table, "<f4").tobytes()), **options)


def sweep(width: int) -> np.ndarray:
    return RNG.uniform(-50, 50, (20, width)).astype(np.float32)


def test_kitti_by_format():
    table = sweep(4)
    cloud = read(table, format="kitti", filename="000000.bin")
    assert cloud.xyz.tolist() == table[:, :3].tolist()
    assert cloud.intensity.tolist() == table[:, 3].tolist()
    assert (cloud.intensity_scale, cloud.format) == (1, "kitti")


@pytest.mark.parametrize("options", [{"filename": "LIDAR_TOP__1.2.PCD.bin"}, {"format": "nuscenes"}])
def test_nuscenes_by_suffix_or_format(options):
    table = sweep(5)
    cloud = read(table, **options)
    assert cloud.xyz.tolist() == table[:, :3].tolist()
    assert cloud.extra["ring"].tolist() == table[:, 4].tolist()
    assert (cloud.intensity_scale, cloud.format) == (255, "nuscenes")


@pytest.mark.parametrize("filename", ["", "a.bin", "a.pcd.bin"])
def test_columns_by_option(filename):
    table = sweep(6)
    cloud = read(table, filename=filename, columns=("z", "y", "x", "_", "intensity", "time"))
    assert cloud.xyz.tolist() == table[:, 2::-1].tolist()
    assert cloud.intensity.tolist() == table[:, 4].tolist()
    assert cloud.extra["gps_time"].tolist() == table[:, 5].tolist()
    assert cloud.format == "bin"


def test_colors():
    table = np.array([[1, 2, 3, 0, 128, 255], [4, 5, 6, 1, 2, 3]])
    assert read(table, format="xyzrgb").rgb.tolist() == [[0, 128, 255], [1, 2, 3]]


@pytest.mark.parametrize(("filename", "width"), [("a.bin", 4), ("a.bin", 5), ("", 4), ("a.dat", 6)])
def test_the_columns_are_never_guessed(filename, width):
    with pytest.raises(UnsupportedFormat, match=r"format=kitti.*columns=x,y,z"):
        read(sweep(width), filename=filename)


def test_size_that_does_not_fit():
    with pytest.raises(BadCloud, match=r"80 bytes.*take 12 bytes.*8 bytes are left"):
        read(sweep(4)[:5], columns=("x", "y", "z"))


def test_format_and_columns_together_are_refused():
    with pytest.raises(BadRequest, match="kitti"):
        read(sweep(4), format="kitti", columns=("x", "y", "z", "_"))


def test_more_points_than_allowed():
    with pytest.raises(TooLarge):
        read(sweep(4), format="kitti", max_points=19)
