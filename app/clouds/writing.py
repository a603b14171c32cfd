"""What writing an answer will take in memory, before it is written. Estimates are high rather than low."""

from collections.abc import Callable

from app.clouds import las_file, pcd_header, ply_header
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.fields import OUTPUTS

HEAD_BYTES = 1 << 20  # of an answer: names of classes, warnings, records of the file that came in
NUMBER_BYTES = 24  # of a float64 in text, with what separates it
FLOAT_BYTES = 16  # of a float32
ROW_OBJECT_BYTES = 320  # of a row of text as Python objects: pieces, and the lists that hold them
ADDED_BYTES = sum(field.row_bytes(0, 0) for field in OUTPUTS.values())  # of a point in formats of columns
BUILT_BYTES = 80  # of a point in a LAS, PLY or PCD file that is made from a cloud
SORTED_BYTES = 32  # of a point while classes are counted


def needs(output: str, cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """Bytes of the process that writes, at its highest, and of them those of the finished file.

    Both count beside the cloud, the segmentation and ``source``, which are in memory already.
    """
    work, size = ESTIMATES[output](cloud, segmentation, source)
    return work + 2 * HEAD_BYTES, size + HEAD_BYTES


def _columns(segmentation: Segmentation) -> int:
    """Bytes of all columns of ``segmentation``."""
    return sum(array.nbytes for array in segmentation.arrays.values())


def _width(segmentation: Segmentation) -> int:
    """Numbers of a point in the fields that were asked for."""
    return sum(values.shape[1] if values.ndim > 1 else 1 for values in segmentation.fields.values())


def _arrays(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    size = _columns(segmentation) + cloud.xyz.nbytes
    return 3 * size, size


def _json(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    size = len(cloud) * 12 + _columns(segmentation) // 4 * FLOAT_BYTES
    return 2 * size + len(cloud) * SORTED_BYTES, size


def _csv(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    name_bytes = max((len(known.name.encode()) for known in segmentation.meta.classes), default=0)
    width = _width(segmentation)
    row_bytes = 3 * NUMBER_BYTES + 32 + name_bytes + width * NUMBER_BYTES
    size = len(cloud) * row_bytes
    return 2 * size + len(cloud) * (ROW_OBJECT_BYTES + 16 * width), size


def _view(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    size = len(cloud) * 48
    wide = sum(values.nbytes for values in segmentation.fields.values() if values.ndim > 1)
    return 2 * size + len(cloud) * 200 + 3 * wide + (128 << 20 if wide else 0), size


def _las(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    row_bytes, built = BUILT_BYTES + 8 * len(cloud.extra), 4 * BUILT_BYTES
    if source is not None:
        row_bytes, built = las_file.parse(source).record_length, 0
    size = len(cloud) * (row_bytes + ADDED_BYTES)
    return 4 * size + len(cloud) * (built + SORTED_BYTES), size + (len(source) if source is not None else 0)


def _ply(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    if source is None:
        size = len(cloud) * (BUILT_BYTES + ADDED_BYTES + 8 * len(cloud.extra))
        return 3 * size, size
    width = _width(segmentation) + 1
    is_ascii = ply_header.read_header(source).is_ascii
    size = len(source) + len(cloud) * (width * FLOAT_BYTES if is_ascii else ADDED_BYTES)
    return 3 * size + (len(cloud) * width * ROW_OBJECT_BYTES // 2 + len(source) * 2 if is_ascii else 0), size


def _pcd(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    row_bytes, text = BUILT_BYTES + 8 * len(cloud.extra), 0
    if source is not None:
        header = pcd_header.parse_header(source)
        row_bytes = header.record_length
        if header.encoding == "ascii":
            text = 2 * len(source) + 24 * len(cloud) * sum(field.count for field in header.fields)
    size = len(cloud) * (row_bytes + ADDED_BYTES)
    return 4 * size + text, size


Estimate = Callable[[Cloud, Segmentation, memoryview | None], tuple[int, int]]
ESTIMATES: dict[str, Estimate] = {
    "json": _json,
    "las": _las,
    "laz": _las,
    "ply": _ply,
    "pcd": _pcd,
    "npz": _arrays,
    "npy": _arrays,
    "safetensors": _arrays,
    "csv": _csv,
    "view": _view,
}
