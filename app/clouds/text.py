"""Tables of text (.xyz .txt .asc .csv .pts): with or without a header, by commas, semicolons, tabs or spaces."""

import io
import re
from dataclasses import dataclass, field

import numpy as np

from app.clouds.bindings import check_columns
from app.clouds.checks import check_num_points
from app.clouds.cloud import Cloud
from app.clouds.columns import SKIP, XYZ, Wanted, assumed_names, canonical, cloud_from_columns
from app.clouds.memory_file import MemoryFile
from app.clouds.number_table import Layout, is_number, parse_rows, split_fields
from app.errors import BadCloud

BOM = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 65536
MAX_HEAD_LINES = 1000
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
PTS = (*XYZ, "intensity", "red", "green", "blue")
COMMENTS = ("#", "//")


@dataclass
class Head:
    """What stands before the first row: names by the header, the count of a .pts file, and the row itself."""

    header: str | None = None
    num_points: int | None = None
    comments: list[str] = field(default_factory=list)
    first_row: str = ""
    start: int = 0
    line_number: int = 0


def read(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """Rows of numbers; names from ``columns``, else the header, else by the rules of ``columns.assumed_names``.

    A header is the line before the rows, or the last comment among those that names x, y and z. Columns of other text
    are left out with a warning. A first line with one whole number is the count of points (.pts) and is checked.
    """
    head = _read_head(data)
    delimiter = _delimiter(head.first_row)
    fields = split_fields(head.first_row, delimiter)
    if delimiter != "," and any(DECIMAL_COMMA.fullmatch(field) for field in fields):
        return read(memoryview(bytes(data).translate(bytes.maketrans(b",", b"."))), columns, max_points)
    if head.num_points is not None:
        check_num_points(head.num_points, max_points, "The count in the first line")

    warnings = []
    if isinstance(columns, tuple):
        names: tuple[str, ...] | None = check_columns(columns)
    else:
        names = _header_names(head, delimiter, len(fields), columns or {})
    while names and len(names) < len(fields) and not fields[len(names)]:
        names = (*names, SKIP)
    if names and len(names) != len(fields):
        stated = "columns= names" if isinstance(columns, tuple) else "The header names"
        raise BadCloud(f"{stated} {len(names)} columns, but line {head.line_number} has {len(fields)}.")
    used = [i for i, text in enumerate(fields) if is_number(text) or (names and canonical(names[i]) in XYZ)]
    if names:
        unread = [names[i] for i in range(len(fields)) if i not in used and names[i] not in (SKIP, "")]
        used = [i for i in used if names[i] != SKIP]
        warnings += [f"Column '{name}' is not numeric and was left out." for name in unread]
    layout = Layout(delimiter, len(fields), used, head.line_number, _comments(data, head.start))
    table = parse_rows(data, head.start, layout, None if max_points is None else max_points + 1)
    check_num_points(len(table), max_points)
    if head.num_points is not None and head.num_points != len(table):
        raise BadCloud(f"The first line promises {head.num_points:,} points, but {len(table):,} rows follow.")
    if names:
        chosen = tuple(names[i] for i in used)
    elif head.num_points is not None and table.shape[1] == len(PTS):
        chosen, assumed = PTS, [f"The columns have no names and were read as {' '.join(PTS)}; columns= says otherwise."]
        warnings += assumed
    else:
        chosen, assumed = assumed_names(table, columns)
        warnings += assumed
    return cloud_from_columns("text", zip(chosen, table.T, strict=True), wanted=columns, warnings=warnings)


def _read_head(data: memoryview) -> Head:
    head = Head()
    lines = io.BufferedReader(MemoryFile(data, len(BOM) if data[:3] == BOM else 0))
    while True:
        head.start = lines.tell()
        head.line_number += 1
        raw = lines.readline(MAX_LINE_BYTES)
        if not raw:
            raise BadCloud("The text holds no row of at least three numbers.")
        if len(raw) == MAX_LINE_BYTES or head.line_number > MAX_HEAD_LINES:
            raise BadCloud(f"No row of numbers in the first {head.line_number} lines; this is no table of points.")
        if _take_line(head, raw.decode("utf-8", "replace").strip()):
            return head


def _take_line(head: Head, line: str) -> bool:
    """Put one line in its place; True when it is the first row."""
    if line.startswith(COMMENTS):
        head.comments.append(line.lstrip("#/ \t"))
        return False
    for mark in COMMENTS:
        line = line.partition(mark)[0].rstrip()
    fields = re.split(r"[;,\s]+", line.replace('"', "").strip(";, \t"))
    numbers = sum(map(is_number, fields))
    if numbers >= 3:
        head.first_row = line
        return True
    if len(fields) == 1 and line.isascii() and line.isdigit() and head.num_points is None:
        head.num_points = int(line)
    elif numbers:
        raise BadCloud(f"Line {head.line_number} has {numbers} numbers; a point needs at least x, y and z.")
    elif line and head.header is not None:
        raise BadCloud(f"Line {head.line_number}: expected a row of numbers, found '{line:.40}'.")
    elif line:
        head.header = line
    return False


def _delimiter(row: str) -> str | None:
    """The one that splits ``row`` into fields without blanks inside; None for spaces."""
    for delimiter in (";", "\t", ","):
        fields = split_fields(row, delimiter)
        if len(fields) >= 3 and not any(" " in field or field.endswith(",") for field in fields):
            return delimiter
    return None


def _header_names(head: Head, delimiter: str | None, width: int, bindings: dict[str, str]) -> tuple[str, ...] | None:
    stated = [head.header] if head.header is not None else head.comments[::-1]
    for line in stated:
        for separator in (delimiter, None):
            names = tuple(split_fields(line, separator))
            bound = {meaning for meaning, name in bindings.items() if name in names}
            is_header = set(XYZ) <= bound | {canonical(name) for name in names}
            if is_header and (len(names) == width or head.header is not None):
                return names
    if head.header is None:
        return None
    raise BadCloud(
        f"The header '{head.header:.80}' does not name x, y and z; name the columns with columns=.",
        columns=[name for name in split_fields(head.header, delimiter) if name],
    )


def _comments(data: memoryview, start: int) -> tuple[str, ...]:
    """Marks that the rows may hold; looking for '//' costs, so only where a slash occurs."""
    view = np.frombuffer(data, np.uint8)[start:]
    step = 1 << 24
    slashes = any((view[at : at + step] == ord("/")).any() for at in range(0, len(view), step))
    return COMMENTS if slashes else COMMENTS[:1]
