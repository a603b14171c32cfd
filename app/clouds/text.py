"""Tables of text (.xyz .txt .asc .csv .pts): with or without a header, by commas, semicolons, tabs or spaces."""

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from app.clouds.checks import check_num_points
from app.clouds.cloud import Cloud
from app.clouds.columns import SKIP, XYZ, Wanted, canonical, cloud_from_columns, listed, missing_values
from app.clouds.columns_option import check_columns
from app.clouds.comments import units_in
from app.clouds.encoding import is_text
from app.clouds.memory_file import MemoryFile
from app.clouds.needs import GROWTH, Keep, Needs, of_table
from app.clouds.number_table import NUMBER, TableLayout, is_number, parse_rows
from app.clouds.occurrences import count, count_lines
from app.clouds.table_cells import (
    Cells,
    ColumnContents,
    Notation,
    find_notation,
    is_missing,
    read_cells,
    without_hashes,
)
from app.clouds.text_head import COMMENTS, MAX_LINE_BYTES, Head, read_head
from app.clouds.unnamed import assumed_names
from app.errors import BadCloud

PTS = (*XYZ, "intensity", "red", "green", "blue")
SAMPLE_ROWS = 1000
MAX_SAMPLE_BYTES = 4 << 20


def read(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """Rows of numbers; names from ``columns``, else the header, else by the rules of ``unnamed.assumed_names``.

    A header is a line before the rows, or the last comment among those, that names x, y and z. Columns of other text
    are left out, cells without a value are NaN, both with a warning. A first line with one whole number is the count of
    points (.pts) and is checked.
    """
    data = _with_line_feeds(without_hashes(data))
    head = read_head(data, columns if isinstance(columns, dict) else {})
    if head.num_points is not None:
        check_num_points(head.num_points, max_points, "The count in the first line")
    names = _names(head, columns)
    if head.is_mixed:
        data = memoryview(bytes(data).translate(bytes.maketrans(b";,\t", b"   ")))
    sample = _sample(data, head)
    notation = find_notation((cell for row in sample for cell in row), head.delimiter)
    kept, texts = _sorted(sample, names, notation)
    if len(kept) < len(XYZ):
        raise BadCloud(f"The table has {len(kept)} columns of numbers; a point needs at least x, y and z.")
    if notation == Notation(comma=True):
        data, notation = memoryview(bytes(data).translate(bytes.maketrans(b",", b"."))), Notation()
    at_most = None if max_points is None else max_points + 1
    width = len(head.fields)
    num_optional = width - 1 - max(kept + texts) if not names or names[-1] in (SKIP, "") else 0
    layout = TableLayout(head.delimiter, width, kept, head.line_number, _comments(data, head.start), num_optional)
    cells = _parse(data, head, layout, notation, at_most)
    check_num_points(len(cells.table), max_points)
    if head.num_points is not None and head.num_points != len(cells.table):
        raise BadCloud(f"The first line promises {head.num_points:,} points, but {len(cells.table):,} rows follow.")
    cloud = _cloud(head, names, layout, cells, columns, notation, texts)
    cloud.units = units_in([*head.comments, *head.unread])
    return cloud


def _names(head: Head, columns: Wanted | None) -> tuple[str, ...] | None:
    """One for each field of a row, SKIP for a field after the last separator; None if nothing names them."""
    fields = head.fields
    if isinstance(columns, tuple):
        names: tuple[str, ...] | None = check_columns(columns)
    elif head.names is None and head.lines:
        raise BadCloud(
            f"The header '{head.lines[-1]:.80}' does not name x, y and z; name the columns with columns=.",
            columns=[name for name in head.columns_of(head.lines[-1]) if name],
        )
    else:
        names = head.names
    if names is None:
        if len(fields) < 3:
            raise BadCloud(f"Line {head.line_number} has {len(fields)} numbers; a point needs at least x, y and z.")
        return None
    while len(names) < len(fields) and not fields[len(names)]:
        names = (*names, SKIP)
    if len(names) != len(fields):
        stated = "columns= names" if isinstance(columns, tuple) else "The header names"
        raise BadCloud(f"{stated} {len(names)} columns, but line {head.line_number} has {len(fields)}.")
    return names


def _sample(data: memoryview, head: Head) -> list[list[str]]:
    """Fields of the first rows that are as many as those of the first one."""
    layout = TableLayout(head.delimiter, len(head.fields), (), comments=COMMENTS)
    lines = io.BufferedReader(MemoryFile(data[: head.start + MAX_SAMPLE_BYTES], head.start))
    rows = (layout.split(line.decode("utf-8", "replace")) for line in lines)
    return list(islice((row for row in rows if len(row) == layout.width), SAMPLE_ROWS))


def _sorted(
    sample: Sequence[Sequence[str]], names: Sequence[str] | None, notation: Notation
) -> tuple[list[int], list[int]]:
    """Places of the columns that hold numbers in the sample, or by their names shall, and of those that hold text."""
    kept, texts = [], []
    for place, cells in enumerate(zip(*sample, strict=True)):
        name = names[place] if names else ""
        values = [cell for cell in cells if not is_missing(cell)]
        numbers = sum(is_number(notation.plain(cell)) for cell in values)
        if canonical(name) in XYZ or (name != SKIP and 2 * numbers >= len(values) and (numbers or names)):
            kept.append(place)
        elif name != SKIP and values:
            texts.append(place)
    return kept, texts


def _are_ragged(data: memoryview, layout: TableLayout, num_rows: int, start: int) -> bool:
    """Whether some rows seem to have more or fewer fields than ``layout.width``; asked if not all fields were read."""
    if layout.delimiter is None:
        return False
    view = np.frombuffer(data, np.uint8)[start:]
    return int(np.count_nonzero(view == ord(layout.delimiter))) != num_rows * (layout.width - 1)


def _with_line_feeds(data: memoryview) -> memoryview:
    """``data`` with line feeds if its lines end in carriage returns alone."""
    head = bytes(data[:MAX_LINE_BYTES])
    return memoryview(bytes(data).replace(b"\r", b"\n")) if b"\r" in head and b"\n" not in head else data


def _parse(data: memoryview, head: Head, layout: TableLayout, notation: Notation, max_rows: int | None) -> Cells:
    if notation.is_plain:
        with contextlib.suppress(BadCloud):  # some cell is no number: what it is, the slower reader finds out
            table = parse_rows(data, head.start, layout, max_rows)
            if len(layout.used) == layout.width or not _are_ragged(data, layout, len(table), head.start):
                return Cells(table, [ColumnContents(numbers=len(table)) for _ in layout.used])
    return read_cells(data, head.start, layout, notation, max_rows)


def _cloud(
    head: Head,
    names: tuple[str, ...] | None,
    layout: TableLayout,
    cells: Cells,
    columns: Wanted | None,
    notation: Notation,
    texts: list[int],
) -> Cloud:
    called = names or tuple(str(place) for place in range(1, layout.width + 1))
    required = [i for i, index in enumerate(layout.used) if (canonical(called[index]) in XYZ if names else i < 3)]
    left_out = [called[place] for place in texts]
    empty, odd, chosen = [], [], []
    for i, (index, column) in enumerate(zip(layout.used, cells.columns, strict=True)):
        if i in required and column.others:
            raise BadCloud(
                f"Line {column.line_number}, column {index + 1}: expected a number, found '{column.first_other:.40}'."
            )
        if i in required and not column.numbers:
            raise BadCloud(f"Column {called[index]:.60} holds no number, but only empty cells.")
        if column.is_text:
            left_out.append(called[index])
        elif not column.numbers:
            empty += [called[index]] if called[index] else []
        else:
            chosen.append(i)
            if column.others:
                odd.append(
                    f"Column {called[index]:.60}: {column.others:,} of {len(cells.table):,} cells hold no number, the "
                    f"first in line {column.line_number} ('{column.first_other:.40}'); taken as missing."
                )
    table = cells.table if len(chosen) == cells.table.shape[1] else np.ascontiguousarray(cells.table[:, chosen])
    warnings = []
    if head.unread:
        warnings.append(f"Lines before the table that were not read: {listed(head.unread)}.")
    if left_out:
        warnings.append(_sentence(left_out, "not numeric and"))
    if empty:
        warnings.append(_sentence(empty, "without any value and"))
    warnings += odd[:8]
    if cells.num_empty_rows:
        warnings.append(f"Rows of empty cells that were left out: {cells.num_empty_rows:,}.")
    if notation.groups:
        marks = "blanks or apostrophes" if " " in notation.groups else f"'{notation.groups}'"
        warnings.append(f"Numbers were read with {marks} between thousands.")
    if names:
        given: tuple[str, ...] = tuple(called[layout.used[i]] for i in chosen)
    elif head.num_points is not None and table.shape[1] == len(PTS):
        given = PTS
        warnings.append(f"The columns have no names and were read as {' '.join(PTS)}; columns= says otherwise.")
    else:
        given, assumed = assumed_names(table, columns)
        warnings += assumed
    warnings += missing_values(given, table)
    return cloud_from_columns("text", zip(given, table.T, strict=True), wanted=columns, warnings=warnings)


def _sentence(names: Sequence[str], what: str) -> str:
    """Column 'a' is not numeric and was left out; Columns 'a', 'b' are …"""
    one = len(set(names)) == 1
    subject = f"Column {listed(names)} is" if one else f"Columns {listed(names)} are"
    return f"{subject} {what} {'was' if one else 'were'} left out."


def _comments(data: memoryview, start: int) -> tuple[str, ...]:
    """Marks of comments that the rows may hold. Looking for '//' costs, so it is done only if there is a slash."""
    view = np.frombuffer(data, np.uint8)[start:]
    step = 1 << 24
    slashes = any((view[at : at + step] == ord("/")).any() for at in range(0, len(view), step))
    return COMMENTS if slashes else COMMENTS[:1]


def looks_like_table(head: bytes) -> bool:
    """Whether one of the first lines begins with three numbers."""
    text = head.lstrip()
    is_json = text[:1] in (b"{", b"[")
    return is_text(head) and not is_json and any(_is_row(line) for line in text.splitlines()[:200])


def _is_row(line: bytes) -> bool:
    fields = re.split(rb"[;,\s]+", line.strip())
    return len(fields) >= 3 and all(NUMBER.fullmatch(field) for field in fields[:3])


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """By the number of lines and of separators."""
    lines = count_lines(data)
    separators = count(data, b" ,;\t")
    width = min(max(3, 1 + separators // lines), 3 + len(data) // (2 * lines))
    translated = 2 * len(data) if count(data[: 1 << 16], b",") else 0  # decimal commas
    needs = of_table(lines, width, 8 * width, keep, 8 * width * GROWTH + translated / lines)
    return replace(needs, is_exact=False)  # lines are not all points
