"""Estimates of the memory that reading and writing take, from headers, before anything is decoded.

Estimates are high rather than low; a test compares them with what reading and writing take.
"""

from collections.abc import Collection
from dataclasses import dataclass

from app.clouds.cloud import Cloud, Segmentation
from app.clouds.columns import OWN
from app.clouds.fields import OUTPUTS

Keep = Collection[str] | None
"""Names of the columns beyond those in ``NAMES`` that are wanted; None for all."""

XYZ_BYTES, CHANNELS_BYTES = 24, 19  # of a point of a Cloud: coordinates; colors, intensity and normals
XYZ_WORK_BYTES, CHANNELS_WORK_BYTES = 48, 128  # of a point while a Cloud is made of columns
NAMED_BYTES = 8 * len(OWN)  # of a point: columns with a meaning beside coordinates and channels
BUFFER = 1.2  # times an array: what it is unpacked into
GROWTH = 2.5  # of a table whose length is found while it is read
HEAD_BYTES = 1 << 20  # of an answer: names of classes, warnings, records of the file that came in
NUMBER_BYTES = 24  # of a float64 in text, with what separates it
FLOAT_BYTES = 16  # of a float32
ROW_OBJECT_BYTES = 320  # of a row of text as Python objects: pieces, and the lists that hold them
ADDED_BYTES = sum(field.row_bytes(0, 0) for field in OUTPUTS.values())  # of a point in formats of columns
BUILT_BYTES = 80  # of a point in a LAS, PLY or PCD file that is made from a cloud
MAX_UNPACKING = 16  # threads that unpack chunks of LAZ, or pack them
UNPACKING_BYTES = 3 << 20  # of each of them
SORTED_BYTES = 32  # of a point while classes are counted


@dataclass(frozen=True)
class Needs:
    """An estimate of the memory that reading a file takes.

    Attributes:
        num_points: of the file, at most.
        work_bytes: peak of the process that reads, beyond the file and its libraries.
        cloud_bytes: of the Cloud.
        is_exact: whether the file states its number of points.
    """

    num_points: int
    work_bytes: int
    cloud_bytes: int
    is_exact: bool = True


def of_table(num_points: int, width: int, row_bytes: int, keep: Keep, held_bytes: float = 0) -> Needs:
    """Needs of ``width`` columns that take ``row_bytes`` a point, and ``held_bytes`` a point while they are decoded."""
    further = max(0, row_bytes * (width - 3) // max(1, width))
    kept = further if keep is None else min(further, NAMED_BYTES + 8 * len(keep))
    work = XYZ_WORK_BYTES + (CHANNELS_WORK_BYTES if width > 3 else 0) + further + held_bytes
    cloud = XYZ_BYTES + (CHANNELS_BYTES if width > 3 else 0) + kept
    return Needs(num_points, int(num_points * work), num_points * cloud)


def arrays_needs(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """Bytes of the process that writes coordinates and fields as arrays, and of them those of the file."""
    size = segmentation.num_bytes + cloud.xyz.nbytes
    return 3 * size, size
