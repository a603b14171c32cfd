"""NPZ, and the zip of a Pointcept sample (coord.npy, color.npy, normal.npy, strength.npy, segment.npy)."""

import io
import zipfile
from collections.abc import Collection
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from app.clouds.answer import instance_arrays
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.columns import Wanted
from app.clouds.fields import FIELDS
from app.clouds.memory_file import MemoryFile
from app.clouds.named_arrays import Stored, cloud_from_arrays, needs_of
from app.clouds.needs import Keep, Needs, arrays_needs
from app.clouds.npy import MAX_HEADER_BYTES, ArrayHeader, check_table, cloud_from_array, read_header
from app.clouds.unsupported import refuse_zip
from app.clouds.zip_directory import DAMAGE
from app.errors import BadCloud, TooLarge, UnsupportedFormat

MAX_ENTRIES = 64
MAX_RATIO = 200
RATIO_FREE_BYTES = 64 << 20
MAX_POINT_BYTES = 256
CHUNK_BYTES = 1 << 22
ENCRYPTED = 1


def read(
    data: memoryview,
    columns: Wanted | None = None,
    max_points: int | None = None,
    keep: Collection[str] | None = None,
) -> Cloud:
    """Arrays of N rows by name: coord|xyz|points, color|rgb, normal, strength|intensity; others (N,) go to ``extra``.

    A zip with one array only is read as NPY is. Arrays of other lengths are left out with a warning. ``strength`` of
    a sample without values above 1 has the scale 1.
    """
    try:
        with zipfile.ZipFile(MemoryFile(data)) as archive:
            entries = entries_of(archive, len(data), max_points)
            if len(entries) == 1:
                return _read_single(archive, next(iter(entries.values())), columns, max_points)
            arrays = {name: stored(archive, info) for name, info in entries.items()}
            return cloud_from_arrays("npz", arrays, columns, max_points, "the zip", keep)
    except DAMAGE as error:
        raise BadCloud(f"The zip is damaged or cut short: {error}") from None


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """``labels`` (N,), ``xyz`` (N, 3), what was asked for, and ``class_ids``, ``class_names``, ``class_colors``.

    Fields have the name ``OutputField.column_name``; with instances come ``instance_labels`` and ``instance_scores``,
    a value an instance, and if steps refined the labels ``refined_steps`` and ``refined_changed``, points a step
    changed. Other columns of the cloud are left out, which is said in a warning.
    """
    meta = segmentation.meta
    meta.warnings += cloud.left_out("NPZ")
    arrays: dict[str, Any] = {
        "labels": segmentation.labels.astype(np.int32, copy=False),
        "xyz": cloud.xyz,
        **{FIELDS[name].column_name: values for name, values in segmentation.fields.items()},
        **instance_arrays(segmentation),
        "ignore_label": np.int32(meta.ignore_label),
        "class_ids": np.array([c.id for c in meta.classes], np.int32),
        "class_names": np.array([c.name for c in meta.classes], np.str_),
        "class_colors": np.array([c.color for c in meta.classes], np.uint8).reshape(-1, 3),
    }
    if meta.refined:
        arrays["refined_steps"] = np.array([done.step for done in meta.refined], np.str_)
        arrays["refined_changed"] = np.array([done.changed for done in meta.refined], np.int64)
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def entries_of(archive: zipfile.ZipFile, num_bytes: int, max_points: int | None) -> dict[str, zipfile.ZipInfo]:
    """The .npy files by name without folder and suffix, once the archive is known to be harmless."""
    infos = [info for info in archive.infolist() if not info.is_dir() and "__MACOSX" not in info.filename]
    if len(infos) > MAX_ENTRIES:
        raise BadCloud(f"The zip holds {len(infos)} files; at most {MAX_ENTRIES} are read.")
    arrays = [info for info in infos if info.filename.endswith(".npy")]
    if not arrays:
        refuse_zip([info.filename for info in infos])
        names = ", ".join(info.filename[:60] for info in infos[:5]) or "nothing"
        raise UnsupportedFormat(
            f"A zip is read where it holds .npy arrays; found {names}. Unpack it and send the cloud."
        )
    entries = {PurePosixPath(info.filename).stem: info for info in arrays}
    if len(entries) < len(arrays):
        raise BadCloud("The zip holds arrays of the same name more than once; send one sample.")
    for info in entries.values():
        if info.flag_bits & ENCRYPTED:
            raise BadCloud("The zip is encrypted; send it without a password.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadCloud(
                f"'{info.filename:.60}' is compressed by method {info.compress_type}; expected stored or deflate."
            )
    inflated = sum(info.file_size for info in entries.values())
    if inflated > max(RATIO_FREE_BYTES, MAX_RATIO * num_bytes):
        raise BadCloud(f"The zip of {num_bytes:,} bytes would inflate to {inflated:,}; that is no honest point cloud.")
    if max_points is not None and inflated > max(RATIO_FREE_BYTES, MAX_POINT_BYTES * max_points):
        raise TooLarge(f"The zip inflates to {inflated:,} bytes, more than {max_points:,} points can take.")
    return entries


def _read_single(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, columns: Wanted | None, max_points: int | None
) -> Cloud:
    header = _header(archive, info)
    check_table(header, max_points, f"'{info.filename:.60}'")
    return cloud_from_array("npz", _array(archive, info, header), columns)


def stored(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Stored:
    """The array in ``info``; BadCloud if its header is damaged or states more than the zip does."""
    header = _header(archive, info)
    return Stored(header.shape, header.dtype, partial(_array, archive, info, header))


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> ArrayHeader:
    with archive.open(info) as file:
        header = read_header(memoryview(file.read(MAX_HEADER_BYTES)), f"'{info.filename:.60}'")
    if not header.dtype.hasobject and info.file_size < header.size + header.num_bytes:
        raise BadCloud(
            f"'{info.filename:.60}' states {header.dtype} {header.shape}, {header.num_bytes:,} bytes, "
            f"but holds {info.file_size - header.size:,}."
        )
    return header


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: ArrayHeader) -> np.ndarray:
    buffer = bytearray()
    with archive.open(info) as file:
        file.read(header.size)
        while part := file.read(CHUNK_BYTES):
            buffer += part
    if len(buffer) < header.num_bytes:
        raise BadCloud(f"'{info.filename:.60}' is cut short: {len(buffer):,} of {header.num_bytes:,} bytes.")
    return header.array(memoryview(buffer))


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """By the headers of the arrays."""
    with zipfile.ZipFile(MemoryFile(data)) as archive:
        entries = entries_of(archive, len(data), None)
        return needs_of({name: stored(archive, info) for name, info in entries.items()}, wanted, keep)


writing_needs = arrays_needs
