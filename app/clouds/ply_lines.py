"""The rows of an ascii PLY file."""

import io
from collections.abc import Iterator

import numpy as np

from app.clouds.columns import Column
from app.clouds.memory_file import MemoryFile
from app.clouds.number_table import TableLayout, is_number
from app.clouds.ply_header import Element
from app.clouds.table_cells import is_missing, parse_numbers, without_hashes
from app.errors import BadCloud


def read_columns(rows: memoryview, vertex: Element, line_number: int, warnings: list[str]) -> list[Column]:
    """Every scalar property of ``vertex`` by its name as a column (N,), from its ``rows``, which begin at line
    ``line_number``. Values that the stated type does not hold stay unchanged, with a warning."""
    if vertex.has_lists:
        table = np.array(list(_rows(without_hashes(rows), vertex, line_number)), np.float64)
    else:
        width = len(vertex.properties)
        table = parse_numbers(rows, TableLayout(None, width, range(width), line_number), None)
    scalars = [prop for prop in vertex.properties if prop.length is None]
    if len(table) != vertex.count:
        raise BadCloud(f"The PLY has {len(table):,} of {vertex.count:,} vertices; the file is cut short.")
    columns: list[Column] = []
    for prop, values in zip(scalars, table.T, strict=True):
        dtype = prop.dtype.newbyteorder("=")
        if dtype.kind != "f":
            limits = np.iinfo(dtype)
            if not ((values >= limits.min) & (values <= limits.max)).all():
                warnings.append(
                    f"PLY property '{prop.name:.60}' is declared {dtype.name} but holds values outside of it."
                )
                dtype = values.dtype
        with np.errstate(over="ignore"):
            columns.append((prop.name, values.astype(dtype)))
    return columns


def _rows(rows: memoryview, vertex: Element, line_number: int) -> Iterator[list[float]]:
    """The scalars of each row. Its lists may be of any length."""
    for number, line in enumerate(io.BufferedReader(MemoryFile(rows), 1 << 20), line_number):
        fields = line.decode("latin-1").split()
        if fields:
            yield [_number(fields[place], number, place) for place in _places(fields, vertex, number)]


def _places(fields: list[str], vertex: Element, number: int) -> list[int]:
    """The places of the scalars among ``fields``, those of line ``number``; BadCloud if there are more or fewer."""
    places = []
    at = 0
    for prop in vertex.properties:
        if prop.length is None:
            places.append(at)
        elif at < len(fields):
            if not fields[at].isdigit() or len(fields[at]) > 9:
                raise BadCloud(f"Line {number}: a list of the vertex has the length '{fields[at]:.40}'.")
            at += int(fields[at])
        at += 1
    if at != len(fields):
        raise BadCloud(f"Line {number} has {len(fields)} values; the properties of this vertex need {at}.")
    return places


def _number(field: str, number: int, place: int) -> float:
    if is_number(field):
        return float(field)
    if is_missing(field):
        return np.nan
    raise BadCloud(f"Line {number}, column {place + 1}: expected a number, found '{field:.40}'.")
