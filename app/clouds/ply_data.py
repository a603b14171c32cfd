"""The data of a PLY file: where each element lies, and the vertices' columns."""

import io
import struct
from itertools import islice

import numpy as np

from app.clouds.memory_file import MemoryFile
from app.clouds.number_table import Layout, parse_rows
from app.clouds.ply_header import Element, Header
from app.errors import BadCloud

CUT_SHORT = "the file is cut short or its header counts more than there is"


def check_counts(data: memoryview, header: Header) -> None:
    """Raise BadCloud where the elements cannot fit into the bytes; nothing is allocated for them."""
    left = len(data) - header.size
    row_bytes = (2 if header.is_ascii else element.smallest_row_bytes for element in header.elements)
    needed = sum(size * element.count for size, element in zip(row_bytes, header.elements, strict=True))
    if needed > left + header.is_ascii:
        counts = ", ".join(f"{element.count:,} {element.name}" for element in header.elements)
        raise BadCloud(f"The PLY header counts {counts}: at least {needed:,} bytes, but {left:,} follow; {CUT_SHORT}.")


def find_rows(data: memoryview, header: Header, wanted: Element) -> tuple[int, int]:
    """First byte of ``wanted``'s rows and the byte after the last."""
    start = header.size
    for element in header.elements:
        end = _skip_lines(data, start, element) if header.is_ascii else _skip_rows(data, start, element)
        if element is wanted:
            return start, end
        start = end
    raise ValueError(f"{wanted.name} is not an element of this header")


def read_columns(data: memoryview, header: Header, vertex: Element) -> dict[str, np.ndarray]:
    """Every scalar property of ``vertex`` as a column (N,) of its stated dtype, by name."""
    start, end = find_rows(data, header, vertex)
    if header.is_ascii:
        return _ascii_columns(data[:end], start, vertex)
    rows = _uniform_rows(data, start, vertex)
    if rows is None:
        raise BadCloud("The vertices of this PLY carry lists of varying length, which are not read.")
    return {prop.name: rows[prop.name] for prop in vertex.properties if prop.length is None}


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
    """The rows as a view, where all have lists as long as the first row's; else None."""
    lengths: dict[str, int] = {}
    position = start
    for prop in element.properties:
        if prop.length is None:
            position += prop.dtype.itemsize
        else:
            length = _length(data, position, prop.length)
            lengths[prop.name] = length
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


def _walk(data: memoryview, start: int, element: Element) -> int:
    """The byte after the last row, list by list."""
    steps = [
        (None if prop.length is None else struct.Struct(_code(prop.length)), prop.dtype.itemsize)
        for prop in element.properties
    ]
    position = start
    try:
        for _ in range(element.count):
            for length, item_bytes in steps:
                if length is None:
                    position += item_bytes
                else:
                    (count,) = length.unpack_from(data, position)
                    if count < 0:
                        raise BadCloud("A list in the PLY has a negative length; the file is damaged.")
                    position += length.size + count * item_bytes
    except struct.error:
        position = len(data) + 1
    if position > len(data):
        raise BadCloud(f"The PLY ends within its {element.count:,} rows of '{element.name}'; {CUT_SHORT}.")
    return position


def _code(dtype: np.dtype) -> str:
    return (">" if dtype.str[0] == ">" else "<") + dtype.char


def _ascii_columns(data: memoryview, start: int, vertex: Element) -> dict[str, np.ndarray]:
    fields = _first_fields(data, start)
    used: list[int] = []
    constant: dict[int, float] = {}
    column = 0
    for prop in vertex.properties:
        used.append(column)
        if prop.length is not None and column < len(fields):
            constant[column] = float(fields[column])
            column += int(constant[column])
        column += 1
    if column != len(fields):
        raise BadCloud(f"The first vertex of the PLY has {len(fields)} values; its properties need {column}.")
    line_number = bytes(data[:start]).count(b"\n") + 1
    table = parse_rows(data, start, Layout(None, len(fields), used, line_number), None)
    if len(table) != vertex.count:
        raise BadCloud(f"The PLY has {len(table):,} of {vertex.count:,} vertices; {CUT_SHORT}.")
    for position, index in enumerate(used):
        if index in constant and (table[:, position] != constant[index]).any():
            raise BadCloud("The vertices of this PLY carry lists of varying length, which are not read.")
    return {
        prop.name: _cast(prop.name, table[:, position], prop.dtype)
        for position, prop in enumerate(vertex.properties)
        if prop.length is None
    }


def _first_fields(data: memoryview, start: int) -> list[str]:
    for line in io.BufferedReader(MemoryFile(data, start)):
        if not line.isspace():
            return line.decode("latin-1").split()
    return []


def _cast(name: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    if not ((values >= limits.min) & (values <= limits.max)).all():
        raise BadCloud(f"PLY property '{name}' is declared {dtype.name} but holds values outside of it.")
    return values.astype(dtype)
