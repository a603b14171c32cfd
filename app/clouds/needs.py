"""What reading a file will take in memory, by its headers, before anything of it is decoded.

Estimates are high rather than low, a test compares them with what readers take. Files that contradict themselves are
left to their readers, which say what is wrong.
"""

import math
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from app.clouds import formats, las_file, npy, npz, pcd_file, pcd_header, ply_header, pth, ptx, sample, sweep
from app.clouds.bindings import parse_wanted
from app.clouds.checks import check_num_points
from app.clouds.columns import OWN, Wanted
from app.clouds.encoding import SHOWN_BYTES, UTF8_MARK, utf8
from app.clouds.las_dimensions import Descriptors
from app.clouds.memory_file import MemoryFile
from app.clouds.occurrences import count, count_lines
from app.errors import Problem
from app.pickles.archive import DamagedError

Keep = Collection[str] | None
"""Names of the columns beyond those in ``NAMES`` that are wanted; None for all."""

XYZ_BYTES, CHANNELS_BYTES = 24, 19  # of a point of a Cloud: coordinates; colors, intensity and normals
XYZ_WORK_BYTES, CHANNELS_WORK_BYTES = 48, 128  # of a point while a Cloud is made of columns
NAMED_BYTES = 8 * len(OWN)  # of a point: columns with a meaning beside coordinates and channels
BUFFER = 1.2  # times an array: what it is unpacked into
GROWTH = 2.5  # of a table whose length is found while it is read
UNKNOWN_WORK, UNKNOWN_CLOUD = 24, 12  # times the file
E57_PAGE_BYTES, E57_PAYLOAD_BYTES = 1024, 1020
E57_POINT_BYTES = 256  # all fields as float64, coordinates before and after the pose, scans and their union
RECORD_COUNT = re.compile(rb"recordCount\s*=\s*[\"'](\d{1,18})[\"']")


DAMAGE = (
    *(Problem, ArithmeticError, LookupError, TypeError, ValueError, StopIteration),
    *(struct.error, pickle.UnpicklingError, DamagedError, *npz.DAMAGE),
)


@dataclass(frozen=True)
class Needs:
    """Bytes of the process that reads, at its highest and beyond the file and its libraries, and those of the Cloud.

    ``is_exact`` where the file states its number of points; else it has no more than ``num_points``.
    """

    num_points: int
    work_bytes: int
    cloud_bytes: int
    is_exact: bool = True


def estimate(
    data: memoryview,
    *,
    filename: str = "",
    format: str | None = None,
    columns: tuple[str, ...] | None = None,
    max_points: int | None = None,
    keep: Keep = None,
    **others: str,
) -> Needs:
    """What ``formats.read`` of these arguments will take; raises what it raises, as far as that shows at once.

    ``others`` are arguments of ``formats.read`` that change nothing in that.
    """
    wanted = parse_wanted(columns) if columns else None
    if utf8(data[:SHOWN_BYTES]) not in (data[:SHOWN_BYTES], data[len(UTF8_MARK) : SHOWN_BYTES]):
        needs = _text(data, wanted, keep)  # of two or four bytes a character, which hold the marks of ASCII, too
        return replace(needs, work_bytes=needs.work_bytes + 2 * len(data))
    name = formats.find_format(data, filename, format, wanted)
    if name not in ESTIMATES:
        return _unknown(data)
    try:
        needs = ESTIMATES[name](data, wanted, keep)
    except DAMAGE:
        return Needs(0, 0, 0)  # the reader says what is wrong with it
    if needs.is_exact and needs.num_points > 0:
        check_num_points(needs.num_points, max_points)
    return needs


def _unknown(data: memoryview) -> Needs:
    """For a file of which no more is known than its size."""
    return Needs(len(data) // 4, UNKNOWN_WORK * len(data), UNKNOWN_CLOUD * len(data), is_exact=False)


def _table(num_points: int, width: int, row_bytes: int, keep: Keep, held_bytes: float = 0) -> Needs:
    """Of ``width`` columns that take ``row_bytes`` a point, and ``held_bytes`` a point in which they lie meanwhile."""
    further = max(0, row_bytes * (width - 3) // max(1, width))
    kept = further if keep is None else min(further, NAMED_BYTES + 8 * len(keep))
    work = XYZ_WORK_BYTES + (CHANNELS_WORK_BYTES if width > 3 else 0) + further + held_bytes
    cloud = XYZ_BYTES + (CHANNELS_BYTES if width > 3 else 0) + kept
    return Needs(num_points, int(num_points * work), num_points * cloud)


def _npy(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    header = npy.read_header(data[: npy.MAX_HEADER_BYTES], "The NPY file")
    num_points = min(header.shape[0], len(data))
    row_bytes = min(header.num_bytes, len(data)) // max(1, num_points)
    return _table(num_points, len(header.dtype.names or ()) or header.shape[1], row_bytes, keep)


def _npz(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    with zipfile.ZipFile(MemoryFile(data)) as archive:
        entries = npz.entries_of(archive, len(data), None)
        arrays = {name: npz.stored(archive, info) for name, info in entries.items()}
    return _arrays(arrays, wanted, keep)


def _pth(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    value, archive = pth.opened(data)
    given = value if isinstance(value, dict) else {"": value}
    arrays = {name: pth.stored(item, archive) for name, item in given.items() if isinstance(name, str)}
    needs = _arrays({name: array for name, array in arrays.items() if array is not None}, wanted, keep)
    return replace(needs, work_bytes=needs.work_bytes + 2 * len(data))


def _arrays(arrays: dict[str, sample.Stored], wanted: Wanted | None, keep: Keep) -> Needs:
    if len(arrays) > 1:
        arrays = {name: array for name, array in arrays.items() if sample.is_read(name, array, wanted, keep)}
    num_points = max(array.shape[0] for array in arrays.values() if array.shape)
    row_bytes = sum(array.num_bytes for array in arrays.values()) // num_points
    names = [name for array in arrays.values() for name in array.dtype.names or ()]
    width = len(names) or sum(math.prod(array.shape[1:]) for array in arrays.values())
    return _table(num_points, width, row_bytes, keep, row_bytes * BUFFER)


def _las(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    file = las_file.parse(data)
    extra = sum(8 * dimension.num_elements for dimension in Descriptors(file).dimensions)
    held = file.record_length if file.compressed else 0
    standard = 32  # classification, returns, scan angle, GPS time
    work = XYZ_WORK_BYTES + 64 + held + extra + standard
    cloud = XYZ_BYTES + 7 + standard + (extra if keep is None else min(extra, 8 * len(keep)))
    return Needs(file.num_points, file.num_points * work, file.num_points * cloud)


def _ply(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    header = ply_header.read_header(data)
    vertex = next(element for element in header.elements if element.name in ("vertex", "vertices"))
    smallest = vertex.smallest_row_bytes if not header.is_ascii else 2
    num_points = min(vertex.count, len(data) // max(1, smallest))
    width = len(vertex.properties)
    held = 8 * width * GROWTH if header.is_ascii else 0.0
    row_bytes = 8 * width if header.is_ascii else vertex.smallest_row_bytes
    return _table(num_points, width, row_bytes, keep, held)


def _pcd(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    header = pcd_header.parse_header(data)
    row_bytes = header.record_length
    width = sum(field.count for field in header.fields)
    num_points = header.num_points
    held = 0.0
    if header.encoding == "binary":
        num_points = min(num_points, len(data) // row_bytes)
    elif header.encoding == "ascii":
        num_points = min(num_points, len(data) // (2 * width) + 1)
        held = row_bytes + 8 * width * GROWTH + 3 * len(data) / max(1, num_points)
    else:
        num_points = min(num_points, int(pcd_file.MAX_LZF_RATIO * len(data)) // row_bytes)
        held = 3.0 * row_bytes
    return _table(num_points, 1 + max(3, width), row_bytes, keep, held)


def _text(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    lines = count_lines(data)
    separators = count(data, b" ,;\t")
    width = min(max(3, 1 + separators // lines), 3 + len(data) // (2 * lines))
    translated = 2 * len(data) if count(data[: 1 << 16], b",") else 0  # decimal commas
    needs = _table(lines, width, 8 * width, keep, 8 * width * GROWTH + translated / lines)
    return replace(needs, is_exact=False)  # lines are not all points


def _ptx(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    needs = _text(data, wanted, keep)  # and once more for all scans together
    return replace(needs, work_bytes=needs.work_bytes + needs.num_points * 8 * len(ptx.NAMES[7]))


def _json(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    rows = count(data, b"[")
    values = count(data, b",") + rows
    width = max(3, values // max(1, rows))
    needs = _table(rows, width, 8 * width, keep, 16 * width)
    return replace(needs, work_bytes=needs.work_bytes + parsed_bytes(data), is_exact=False)


def parsed_bytes(data: memoryview) -> int:
    """What ``data``, JSON, takes as Python objects while it is parsed."""
    text = 5 * len(data)  # a copy, and strings, of up to four bytes a character
    lists, maps, values = count(data, b"["), count(data, b"{"), count(data, b",")
    return text + 120 * lists + 400 * maps + 72 * (values + lists + maps) + 120 * count(data, b":")


def _sweep(names: tuple[str, ...] | None) -> "Estimate":
    def of(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
        width = len(names or wanted or ())
        return _table(len(data) // (4 * width), width, 4 * width, keep)

    return of


def _e57(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    start, length = struct.unpack_from("<QQ", data, 24)
    num_pages = length // E57_PAYLOAD_BYTES + 2
    first = start // E57_PAGE_BYTES * E57_PAGE_BYTES
    pages = (
        bytes(data[at : at + E57_PAYLOAD_BYTES])
        for at in range(first, min(first + num_pages * E57_PAGE_BYTES, len(data)), E57_PAGE_BYTES)
    )
    num_points = sum(int(found[1]) for found in RECORD_COUNT.finditer(b"".join(pages)))
    return Needs(num_points, num_points * E57_POINT_BYTES + len(data) // 4, num_points * (XYZ_BYTES + 11))


Estimate = Callable[[memoryview, Wanted | None, Keep], Needs]
ESTIMATES: dict[str, Estimate] = {
    "las": _las,
    "laz": _las,
    "ply": _ply,
    "pcd": _pcd,
    "e57": _e57,
    "npy": _npy,
    "npz": _npz,
    "pth": _pth,
    "ptx": _ptx,
    "text": _text,
    "json": _json,
    "bin": _sweep(None),
    "kitti": _sweep(sweep.KITTI),
    "nuscenes": _sweep(sweep.NUSCENES),
    "xyzrgb": _sweep(sweep.XYZRGB),
}
