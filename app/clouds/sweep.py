"""Raw float32 sweeps (.bin): rows of little-endian numbers without a header. The caller states the columns."""

from collections.abc import Collection
from functools import partial

import numpy as np

from app.clouds.checks import check_num_points
from app.clouds.cloud import Cloud
from app.clouds.columns import Wanted, cloud_from_columns
from app.clouds.columns_option import check_columns
from app.clouds.needs import Keep, Needs, of_table
from app.errors import BadCloud, UnsupportedFormat

KITTI = ("x", "y", "z", "intensity")
NUSCENES = ("x", "y", "z", "intensity", "ring")
XYZRGB = ("x", "y", "z", "red", "green", "blue")


def read(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """Rows of float32 with the names in ``columns``; UnsupportedFormat without them, since the bytes do not say."""
    if not isinstance(columns, tuple):
        raise UnsupportedFormat(
            "A raw .bin file does not say what its columns are. Send format=kitti (x y z intensity), format=nuscenes "
            "(x y z intensity ring; files named .pcd.bin are read so), format=xyzrgb (x y z red green blue), "
            "or columns=x,y,z,… with one name for each float32 of a point."
        )
    return _read("bin", data, check_columns(columns), None, max_points, None)


def read_kitti(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """KITTI: x y z intensity, intensity from 0 to 1."""
    return _read("kitti", data, KITTI, columns, max_points, 1.0)


def read_nuscenes(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """nuScenes: x y z intensity ring, intensity from 0 to 255."""
    return _read("nuscenes", data, NUSCENES, columns, max_points, 255.0)


def read_xyzrgb(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """ScanNet or S3DIS dumps: x y z red green blue."""
    return _read("xyzrgb", data, XYZRGB, columns, max_points, None)


def _read(
    format: str,
    data: memoryview,
    names: tuple[str, ...],
    wanted: Wanted | None,
    max_points: int | None,
    scale: float | None,
) -> Cloud:
    row_bytes = 4 * len(names)
    num_points, rest = divmod(len(data), row_bytes)
    if rest:
        raise BadCloud(
            f"{len(data):,} bytes are no whole number of points: {' '.join(names)} as float32 take {row_bytes} bytes "
            f"a point and {rest} bytes are left over. The file is cut short, or has other columns."
        )
    check_num_points(num_points, max_points)
    table = np.frombuffer(data, "<f4").reshape(num_points, len(names))
    return cloud_from_columns(format, zip(names, table.T, strict=True), wanted=wanted, intensity_scale=scale)


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """By the size of the file and the columns that the request names."""
    return _needs(wanted or (), data, None, keep)


def _needs(names: Collection[str], data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    width = len(names)
    return of_table(len(data) // (4 * width), width, 4 * width, keep)


kitti_needs, nuscenes_needs, xyzrgb_needs = (partial(_needs, names) for names in (KITTI, NUSCENES, XYZRGB))
