"""PLY: ascii and binary of both byte orders, points or meshes."""

import io
import itertools
from collections.abc import Sequence

import numpy as np

from app.clouds.checks import check_num_points
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.columns import Wanted, cloud_from_columns
from app.clouds.comments import of_units, units_in
from app.clouds.fields import LABELS
from app.clouds.memory_file import MemoryFile
from app.clouds.needs import ADDED_BYTES, BUILT_BYTES, FLOAT_BYTES, GROWTH, ROW_OBJECT_BYTES, Keep, Needs, of_table
from app.clouds.ply_data import check_counts, find_rows, read_columns, row_starts
from app.clouds.ply_header import BYTE_ORDERS, Element, Header, read_header
from app.clouds.records import common_dtype, fits, float32_error, free_name, one_word, renamed

TYPE_NAMES = {
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float", "f8": "double"
}  # fmt: skip


def read(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """The vertices; other elements are skipped, and need not be whole after the vertices. Lists are left out."""
    header = read_header(data)
    check_num_points(header.vertex.count, max_points, "The PLY")
    check_counts(data, header)
    found, warnings = read_columns(data, header)
    cloud = cloud_from_columns("ply", found, wanted=columns, warnings=warnings)
    cloud.units = units_in(header.comments)
    return cloud


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> Sequence[bytes | memoryview]:
    """The points with ``label`` (int32) and the fields that were asked for, as far as they have columns.

    With ``source`` the file that came in, in its own encoding: these are added to its vertices (``predicted_label``
    if they have a ``label`` already) and all else stays byte for byte. Else binary little endian, with every column
    of the cloud and with float64 coordinates unless they are float32. What PLY has no type for is counted in
    ``segmentation.meta.warnings``.
    """
    added = [(segmentation.label_column, segmentation.labels.astype(LABELS.dtype))]
    added += [(name, values.astype(field.dtype)) for field, name, values in segmentation.columns("PLY")]
    return _extended(source, added) if source is not None else _built(cloud, segmentation, added)


def _built(
    cloud: Cloud, segmentation: Segmentation, added: list[tuple[str, np.ndarray]]
) -> Sequence[bytes | memoryview]:
    columns: list[tuple[str, np.ndarray]] = []
    xyz = cloud.xyz.astype("<f4" if float32_error(cloud.xyz) == 0 else "<f8")
    columns += zip(("x", "y", "z"), xyz.T, strict=True)
    if cloud.rgb is not None:
        columns += zip(("red", "green", "blue"), cloud.rgb.T, strict=True)
    if cloud.intensity is not None:
        columns.append(("intensity", cloud.intensity.astype("<f4")))
    if cloud.normals is not None:
        columns += zip(("nx", "ny", "nz"), cloud.normals.astype("<f4").T, strict=True)
    taken = {name for name, _ in columns}
    names = {}
    for given, values in cloud.extra.items():
        names[given] = one_word(given, taken)
        taken.add(names[given])
        columns.append((names[given], _typed(given, values, segmentation.meta.warnings)))
    segmentation.meta.warnings += renamed("PLY", names.items())
    columns += _named(added, taken)
    rows = np.empty(len(cloud), [(name, values.dtype) for name, values in columns])
    for name, values in columns:
        rows[name] = values
    lines = ["ply", "format binary_little_endian 1.0"]
    lines += [f"comment {line}" for line in of_units(cloud.units, "PLY", segmentation.meta.warnings)]
    lines += [f"comment refined {done.step} {done.changed}" for done in segmentation.meta.refined]
    lines += [f"comment label {c.id} {' '.join(c.name.split())}" for c in segmentation.meta.classes]
    lines += [f"element vertex {len(cloud)}"]
    lines += [_property(name, values) for name, values in columns]
    return ["\n".join([*lines, "end_header", ""]).encode(), rows.view(np.uint8).data]


def _typed(name: str, values: np.ndarray, warnings: list[str]) -> np.ndarray:
    """``values`` in a type of PLY, which has no whole numbers of 64 bits; ``warnings`` count what that changes."""
    common = common_dtype(values.dtype)
    if common.str[1:] in TYPE_NAMES:
        return values.astype(common, copy=False)
    narrow = next((dtype for dtype in map(np.dtype, ("<i4", "<u4")) if fits(values, dtype)), np.dtype("<f8"))
    typed = values.astype(narrow)
    with np.errstate(invalid="ignore"):
        num_changed = int(np.count_nonzero(typed.astype(values.dtype) != values))
    if num_changed:
        warnings.append(f"PLY has no whole numbers of 64 bits: {num_changed:,} values of {name:.60} were rounded.")
    return typed


def _property(name: str, values: np.ndarray) -> str:
    return f"property {TYPE_NAMES[values.dtype.str[1:]]} {name}"


def _extended(source: memoryview, added: list[tuple[str, np.ndarray]]) -> Sequence[bytes | memoryview]:
    header = read_header(source)
    vertex = header.vertex
    added = _named(added, {prop.name for prop in vertex.properties})
    start, end = find_rows(source, header, vertex)
    if header.is_ascii:
        rows: bytes | memoryview = _longer_lines(source[start:end], header.eol, added)
    else:
        rows = _longer_rows(source[start:end], header, vertex, added)
    return [_longer_header(header, vertex, added), source[header.size : start], rows, source[end:]]


def _named(added: list[tuple[str, np.ndarray]], taken: set[str]) -> list[tuple[str, np.ndarray]]:
    """``added`` under names that are not ``taken``: PLY keeps every property of a file that came in."""
    return [(free_name(name, taken, other=f"predicted_{name}"), values) for name, values in added]


def _longer_header(header: Header, vertex: Element, added: list[tuple[str, np.ndarray]]) -> bytes:
    lines = list(header.lines)
    words = [[word.lower() if place == 0 else word for place, word in enumerate(line.split()[:2])] for line in lines]
    last = words.index(["element", vertex.name])
    for index in range(last + 1, len(lines)):
        if words[index][:1] == ["element"]:
            break
        if words[index][:1] == ["property"]:
            last = index
    lines[last + 1 : last + 1] = [_property(name, values) for name, values in added]
    return header.eol.join([*lines, "end_header", ""]).encode("utf-8", "surrogateescape")


def _longer_rows(
    rows: memoryview, header: Header, vertex: Element, added: list[tuple[str, np.ndarray]]
) -> bytes | memoryview:
    kinds = [(name, BYTE_ORDERS[header.format] + values.dtype.str[1:]) for name, values in added]
    tails = np.empty(vertex.count, kinds)
    for name, values in added:
        tails[name] = values
    starts = row_starts(rows, vertex)
    if starts is not None:
        kept = (rows[start:end] for start, end in itertools.pairwise(starts.tolist()))
        return b"".join(part for row, tail in zip(kept, tails, strict=True) for part in (row, tail.tobytes()))
    width = len(rows) // vertex.count
    longer = np.empty(vertex.count, [("kept", f"V{width}"), ("added", tails.dtype)])
    longer["kept"] = np.frombuffer(rows, f"V{width}")
    longer["added"] = tails
    return longer.view(np.uint8).data


def _longer_lines(rows: memoryview, eol: str, added: list[tuple[str, np.ndarray]]) -> bytes:
    lines = (line.rstrip() for line in io.BufferedReader(MemoryFile(rows)) if not line.isspace())
    columns = [[str(value).encode() for value in values.tolist()] for _, values in added]
    return b"".join(b" ".join(row) + eol.encode() for row in zip(lines, *columns, strict=True))


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """By the header, and by how many rows the file has room for."""
    header = read_header(data)
    vertex = next(element for element in header.elements if element.name in ("vertex", "vertices"))
    smallest = vertex.smallest_row_bytes if not header.is_ascii else 2
    num_points = min(vertex.count, len(data) // max(1, smallest))
    width = len(vertex.properties)
    held = 8 * width * GROWTH if header.is_ascii else 0.0
    row_bytes = 8 * width if header.is_ascii else vertex.smallest_row_bytes
    return of_table(num_points, width, row_bytes, keep, held)


def writing_needs(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """By the header of ``source``, or for a file made of the cloud's columns."""
    if source is None:
        size = len(cloud) * (BUILT_BYTES + ADDED_BYTES + 8 * len(cloud.extra))
        return 3 * size, size
    width = segmentation.num_values + 1
    is_ascii = read_header(source).is_ascii
    size = len(source) + len(cloud) * (width * FLOAT_BYTES if is_ascii else ADDED_BYTES)
    return 3 * size + (len(cloud) * width * ROW_OBJECT_BYTES // 2 + len(source) * 2 if is_ascii else 0), size
