"""The data of a PLY file: the place of each element, and the vertices' columns."""

import io
import struct
from array import array
from itertools import islice

import numpy as np

from app.clouds import ply_lines
from app.clouds.columns import Column, listed
from app.clouds.memory_file import MemoryFile
from app.clouds.ply_header import Element, Header
from app.errors import BadCloud

MAX_LATER_ROWS = 2_000_000  # lists after the vertices that are looked at, to say whether they are all there
CUT_SHORT = "the file is cut short or its header counts more than there is"


def check_counts(data: memoryview, header: Header) -> None:
    """Raise BadCloud if the elements up to the vertices cannot fit into the bytes; nothing is allocated for them."""
    left = len(data) - header.size
    elements = header.elements[: len(header.elements) - len(header.later)]
    row_bytes = (2 if header.is_ascii else element.smallest_row_bytes for element in elements)
    needed = sum(size * element.count for size, element in zip(row_bytes, elements, strict=True))
    if needed > left + header.is_ascii:
        counts = ", ".join(f"{element.count:,} {element.name:.40}" for element in elements[:8])
        raise BadCloud(f"The PLY header counts {counts}: at least {needed:,} bytes, but {left:,} follow; {CUT_SHORT}.")


def doubts(data: memoryview, header: Header, end: int) -> list[str]:
    """Warnings of damage after the vertices, which end at byte ``end``: to other elements, or rows that the header does
    not count. None of that is needed."""
    position = end
    try:
        for element in header.later:
            if not header.is_ascii and element.has_lists and element.count > MAX_LATER_ROWS:
                return []
            skip = _skip_lines if header.is_ascii else _skip_rows
            position = skip(data, position, element)
    except BadCloud:
        return [f"The PLY ends within its rows of '{element.name:.40}', which are not needed; the points are whole."]
    num_left = len(data) - position
    is_row = bool(bytes(data[position:]).strip()) if header.is_ascii else num_left >= header.vertex.smallest_row_bytes
    if not header.later and is_row:
        return [f"{num_left:,} bytes follow the {header.vertex.count:,} points that the PLY header counts; not read."]
    return []


def find_rows(data: memoryview, header: Header, wanted: Element) -> tuple[int, int]:
    """First byte of ``wanted``'s rows and the byte after the last."""
    start = header.size
    for element in header.elements:
        end = _skip_lines(data, start, element) if header.is_ascii else _skip_rows(data, start, element)
        if element is wanted:
            return start, end
        start = end
    raise ValueError(f"{wanted.name} is not an element of this header")


def read_columns(data: memoryview, header: Header) -> tuple[list[Column], list[str]]:
    """Every scalar property of the vertices by its name as a column (N,) of its stated dtype, and warnings."""
    vertex = header.vertex
    start, end = find_rows(data, header, vertex)
    warnings = [f"Lines of the PLY header that are not understood: {listed(header.unread)}."] if header.unread else []
    lists = [prop.name for prop in vertex.properties if prop.length is not None]
    if lists:
        warnings.append(f"Lists of the vertices are not read: {listed(lists)}.")
    warnings += doubts(data, header, end)
    if header.is_ascii:
        line_number = bytes(data[:start]).count(b"\n") + 1
        columns = ply_lines.read_columns(data[start:end], vertex, line_number, warnings)
        return columns, warnings
    rows = _uniform_rows(data, start, vertex)
    if rows is not None:
        return [(prop.name, rows[prop.key]) for prop in vertex.properties if prop.length is None], warnings
    return _gathered(data, vertex, find_runs(data, start, vertex)), warnings


def find_runs(data: memoryview, start: int, element: Element) -> np.ndarray:
    """int64 (count + 1, runs): the begin of each run of scalars in each row of ``element``, the first at ``start``.

    A run begins with the row and after each list. The last row holds the byte after the last row.
    """
    marks = array("q")
    end = _walk(data, start, element, marks)
    num_runs = 1 + sum(prop.length is not None for prop in element.properties)
    runs = np.frombuffer(marks, np.int64).reshape(element.count, num_runs) if element.count else np.empty((0, num_runs))
    return np.vstack([runs, np.full((1, num_runs), end, np.int64)])


def row_starts(rows: memoryview, element: Element) -> np.ndarray | None:
    """int64 (count + 1,): the begin of each of the ``rows``, and the end of the last; None if all are of one size."""
    if not element.has_lists or _uniform_rows(rows, 0, element) is not None:
        return None
    return find_runs(rows, 0, element)[:, 0]


def _gathered(data: memoryview, vertex: Element, runs: np.ndarray) -> list[Column]:
    """The scalars of rows of various lengths."""
    flat = np.frombuffer(data, np.uint8)
    columns: list[Column] = []
    run, offset = 0, 0
    for prop in vertex.properties:
        if prop.length is not None:
            run, offset = run + 1, 0
            continue
        places = runs[:-1, run, None] + (offset + np.arange(prop.dtype.itemsize))
        columns.append((prop.name, np.ascontiguousarray(flat[places]).view(prop.dtype)[:, 0]))
        offset += prop.dtype.itemsize
    return columns


def _skip_lines(data: memoryview, start: int, element: Element) -> int:
    lines = io.BufferedReader(MemoryFile(data, start), 1 << 20)
    size = 0
    rows = 0
    while rows < element.count:
        sizes = [(len(line), not line.isspace()) for line in islice(lines, element.count - rows)]
        if not sizes:
            raise BadCloud(f"The PLY has {rows:,} of {element.count:,} rows of '{element.name}'; {CUT_SHORT}.")
        size += sum(length for length, _ in sizes)
        rows += sum(is_row for _, is_row in sizes)
    return start + size


def _skip_rows(data: memoryview, start: int, element: Element) -> int:
    if not element.properties or not element.count:
        return start
    rows = _uniform_rows(data, start, element)
    return start + rows.nbytes if rows is not None else _walk(data, start, element)


def _uniform_rows(data: memoryview, start: int, element: Element) -> np.ndarray | None:
    """The rows as a view, if all have lists as long as the first row's; else None."""
    lengths: dict[str, int] = {}
    position = start
    for prop in element.properties:
        if prop.length is None:
            position += prop.dtype.itemsize
        else:
            length = _length(data, position, prop.length)
            lengths[prop.key] = length
            position += prop.length.itemsize + length * prop.dtype.itemsize
    row_bytes = position - start
    if start + element.count * row_bytes > len(data):
        if element.has_lists:
            return None
        raise BadCloud(f"The PLY ends within its {element.count:,} rows of '{element.name}'; {CUT_SHORT}.")
    rows = np.frombuffer(data, element.dtype(lengths), element.count, start)
    return rows if all((rows["#" + name] == length).all() for name, length in lengths.items()) else None


def _length(data: memoryview, position: int, dtype: np.dtype) -> int:
    if position + dtype.itemsize > len(data):
        raise BadCloud(f"The PLY ends within a list; {CUT_SHORT}.")
    length = int(np.frombuffer(data, dtype, 1, position)[0])
    if length < 0:
        raise BadCloud("A list in the PLY has a negative length; the file is damaged.")
    return length


def _walk(data: memoryview, start: int, element: Element, marks: "array[int] | None" = None) -> int:
    """The byte after the last row, list by list; ``marks`` get the begin of each row and the end of each list."""
    steps = [
        (None if prop.length is None else struct.Struct(_code(prop.length)), prop.dtype.itemsize)
        for prop in element.properties
    ]
    note = marks.append if marks is not None else None
    position = start
    try:
        for _ in range(element.count):
            if note:
                note(position)
            for length, item_bytes in steps:
                if length is None:
                    position += item_bytes
                else:
                    (count,) = length.unpack_from(data, position)
                    if count < 0:
                        raise BadCloud("A list in the PLY has a negative length; the file is damaged.")
                    position += length.size + count * item_bytes
                    if note:
                        note(position)
    except struct.error:
        position = len(data) + 1
    if position > len(data):
        raise BadCloud(f"The PLY ends within its {element.count:,} rows of '{element.name}'; {CUT_SHORT}.")
    return position


def _code(dtype: np.dtype) -> str:
    return (">" if dtype.str[0] == ">" else "<") + dtype.char
