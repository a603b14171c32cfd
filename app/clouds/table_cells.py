"""Cells of a text table to numbers; some are empty, stand for a missing value, or hold text."""

import contextlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from app.clouds.memory_file import MemoryFile
from app.clouds.number_table import TableLayout, is_number, parse_rows
from app.errors import BadCloud

MISSING = re.compile(
    r"|[-+]?nan(?:\(\w*\))?|-{1,3}|[?*.]|\\n|n/?a|\(?null\)?|none|nil|missing|empty|no ?data", re.IGNORECASE
)
HASH = re.compile(rb"#")  # found ten times as fast
HASHED = re.compile(rb"[.,;\t\"]#[IQSNDVRJ]", re.IGNORECASE)
# What Visual C++ and Excel write for numbers that are none; their # would start a comment.
NOT_FINITE = re.compile(
    rb"[-+]?\d+\.#(?:(?:IND|QNAN|SNAN)\w*|(?:I(?!NF)|[QS])[NO]?\w?\b|[JR]\b)|#(?:N/A|DIV/0!|VALUE!|REF!|NUM!|NULL!|NAME\?)",
    re.IGNORECASE,
)
INFINITE = re.compile(rb"\d+\.#INF\w*", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?", re.IGNORECASE)
BLANKS = " \u00a0\u202f'\u2019"
GROUPED = {
    ",": re.compile(r"[+-]?\d{1,3}(?:(?:,\d{3})+\.\d*|(?:,\d{3}){2,})"),
    ".": re.compile(r"[+-]?\d{1,3}(?:(?:\.\d{3})+,\d*|(?:\.\d{3}){2,})"),
    BLANKS: re.compile(rf"[+-]?\d{{1,3}}(?:[{BLANKS}]\d{{3}})+(?:[.,]\d*)?"),
}
CHUNK_LINES = 8192


@dataclass(frozen=True)
class Notation:
    """How numbers are written: characters between ``groups`` of three digits, and whether a ``comma`` is decimal."""

    groups: str = ""
    comma: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether numbers are written as programs write them."""
        return not self.groups and not self.comma

    def plain(self, cell: str) -> str:
        """``cell`` as a program would write it, if it is a number."""
        if self.groups and any(mark in cell for mark in self.groups):
            cell = cell.translate(dict.fromkeys(map(ord, self.groups)))
        return cell.replace(",", ".") if self.comma else cell


def find_notation(cells: Iterable[str], delimiter: str | None) -> Notation:
    """The notation of ``cells``; a comma is a decimal one unless some cell shows it between thousands."""
    listed = [cell for cell in cells if not is_number(cell) and cell.strip("+-")[:1].isdigit()]
    for groups, pattern in GROUPED.items():
        if any(pattern.fullmatch(cell) for cell in listed):
            return Notation(groups, groups != "," and any("," in cell for cell in listed))
    return Notation("", delimiter != "," and any(DECIMAL_COMMA.fullmatch(cell) for cell in listed))


def without_hashes(data: memoryview) -> memoryview:
    """``data`` with nan and inf for what Visual C++ and Excel write with a # instead."""
    if not HASH.search(data) or not HASHED.search(data):
        return data
    return memoryview(INFINITE.sub(b"inf", NOT_FINITE.sub(b"nan", data)))


def is_missing(cell: str) -> bool:
    """Whether ``cell`` says that there is no value."""
    return MISSING.fullmatch(cell) is not None


@dataclass
class ColumnContents:
    """What the cells of a column are: how many ``numbers``, ``missing`` and ``others``, and the first of these."""

    numbers: int = 0
    missing: int = 0
    others: int = 0
    first_other: str = ""
    line_number: int = 0

    @property
    def is_text(self) -> bool:
        """Whether most of what is there is no number."""
        return self.others > self.numbers


@dataclass
class Cells:
    """Numbers of a table, float64 (rows, len(used)), NaN if a cell holds none, and what its columns hold."""

    table: np.ndarray
    columns: list[ColumnContents]
    num_empty_rows: int = 0


@dataclass
class _RowReader:
    layout: TableLayout
    notation: Notation
    columns: list[ColumnContents] = field(default_factory=list)
    num_empty_rows: int = 0

    def at_once(self, chunk: Sequence[bytes]) -> np.ndarray | None:
        """The numbers of the lines ``chunk``, (rows, len(used)), NaN in empty cells; None if that is not all."""
        layout, text = self.layout, b"".join(chunk)
        if layout.delimiter is not None:
            mark = re.escape(layout.delimiter.encode())
            text = re.sub(rb"(?<=%b)(?=%b|[ \r\n]|$)|^(?=%b)" % (mark, mark, mark), b"nan", text, flags=re.MULTILINE)
        try:
            table = parse_rows(memoryview(text), 0, layout, None)
        except BadCloud:
            return None
        given = ~np.isnan(table)
        is_whole = layout.delimiter is None or text.count(layout.delimiter.encode()) == len(table) * (layout.width - 1)
        if not is_whole or not given.any(axis=1).all():
            return None
        for column, count in zip(self.columns, np.count_nonzero(given, axis=0).tolist(), strict=True):
            column.numbers += count
            column.missing += len(table) - count
        return table

    def one_by_one(self, chunk: Sequence[bytes], line_number: int) -> np.ndarray:
        """As ``at_once``, but cell by cell; ``line_number`` is that of the first line."""
        rows = list(self.rows(chunk, line_number))
        if not rows:
            return np.empty((0, len(self.layout.used)))
        line_numbers = [number for number, _ in rows]
        by_column = list(zip(*(fields for _, fields in rows), strict=True))
        values = [
            self.numbers(column, by_column[index], line_numbers)
            for column, index in zip(self.columns, self.layout.used, strict=True)
        ]
        return np.array(values, np.float64).T

    def rows(self, lines: Iterable[bytes], line_number: int) -> Iterator[tuple[int, list[str]]]:
        """Number and fields of every line that is a row; BadCloud for one of another width."""
        layout = self.layout
        for number, line in enumerate(lines, line_number):
            fields = layout.split(line.decode("utf-8", "replace"))
            if not fields:
                continue
            if not any(fields):
                self.num_empty_rows += 1
                continue
            while len(fields) > layout.width and not fields[-1]:
                fields.pop()
            if 0 < layout.width - len(fields) <= layout.num_optional:
                fields += [""] * (layout.width - len(fields))
            if len(fields) != layout.width:
                raise BadCloud(
                    f"Line {number} has {len(fields)} columns; expected {layout.width} as in the rows before."
                )
            yield number, fields

    def numbers(self, column: ColumnContents, cells: Sequence[str], line_numbers: Sequence[int]) -> list[float]:
        """``cells`` as numbers; cells that hold none become NaN and are counted in ``column``."""
        if self.notation.is_plain and "_" not in "".join(cells):
            with contextlib.suppress(ValueError):
                values = list(map(float, cells))
                column.numbers += len(values)
                return values
        values = []
        for cell, line_number in zip(cells, line_numbers, strict=True):
            plain = self.notation.plain(cell)
            if self.layout.delimiter != "," and DECIMAL_COMMA.fullmatch(plain):
                plain = plain.replace(",", ".")
            if is_number(plain):
                column.numbers += 1
                values.append(float(plain))
            else:
                if is_missing(cell):
                    column.missing += 1
                else:
                    if not column.others:
                        column.first_other, column.line_number = cell, line_number
                    column.others += 1
                values.append(np.nan)
        return values


def read_cells(data: memoryview, start: int, layout: TableLayout, notation: Notation, max_rows: int | None) -> Cells:
    """The cells of the lines of ``data`` from byte ``start`` on, ``max_rows`` at most.

    Slower than ``number_table.parse_rows``, for tables in which some cells are no plain numbers. Blank lines and rows
    of nothing but empty cells are left out. BadCloud if a row has other than ``layout.width`` fields.
    """
    reader = _RowReader(layout, notation, [ColumnContents() for _ in layout.used])
    lines = io.BufferedReader(MemoryFile(data, start), 1 << 20)
    line_number, num_rows = layout.line_number, 0
    parts = [np.empty((0, len(layout.used)))]
    while (max_rows is None or num_rows < max_rows) and (chunk := list(islice(lines, CHUNK_LINES))):
        part = reader.at_once(chunk) if notation.is_plain else None
        parts.append(reader.one_by_one(chunk, line_number) if part is None else part)
        line_number += len(chunk)
        num_rows += len(parts[-1])
    return Cells(np.concatenate(parts)[:max_rows], reader.columns, reader.num_empty_rows)


def parse_numbers(data: memoryview, layout: TableLayout, max_rows: int | None) -> np.ndarray:
    """The numbers in the lines of ``data``, float64 (rows, len(layout.used)), NaN for a program's word for it.

    BadCloud for anything else that is no number, and for rows of another width.
    """
    data = without_hashes(data)
    try:
        return parse_rows(data, 0, layout, max_rows)
    except BadCloud:
        cells = read_cells(data, 0, layout, Notation(), max_rows)
        if any(column.others for column in cells.columns):
            raise
        return cells.table
