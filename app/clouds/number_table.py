"""Parses lines of numbers into an array; an error names the line at fault."""

import contextlib
import csv
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.clouds.memory_file import MemoryFile
from app.clouds.occurrences import count_lines
from app.errors import BadCloud

SPACES = re.compile(r"\s+")
QUOTED = re.compile(r'"([^"]*)"|(\S+)')


@dataclass(frozen=True)
class TableLayout:
    """How rows of a table are written.

    ``delimiter`` None means spaces and tabs; ``width`` fields a row; those ``used`` (ascending) are read.
    ``line_number`` is that of the first row, counted from 1. ``comments`` start what is not read.
    ``num_optional`` fields at the end of a row may be absent: separators after the last column.
    """

    delimiter: str | None
    width: int
    used: Sequence[int]
    line_number: int = 1
    comments: tuple[str, ...] = ("#",)
    num_optional: int = 0

    def split(self, line: str) -> list[str]:
        """The fields of ``line``; [] if it is blank or a comment."""
        for mark in self.comments:
            line = line.partition(mark)[0]
        return split_fields(line, self.delimiter)


NUMBER = re.compile(rb"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|nan|inf)", re.IGNORECASE)  # of hostile bytes


def split_fields(line: str, delimiter: str | None) -> list[str]:
    """Fields without surrounding blanks and quotes; [] for a blank line."""
    line = line.strip(" \r\n" if delimiter == "\t" else " \t\r\n")
    if not line:
        return []
    if '"' in line and delimiter is None:
        return [quoted or bare.strip('"') for quoted, bare in QUOTED.findall(line)]
    if '"' in line and delimiter is not None:
        with contextlib.suppress(csv.Error):
            return [field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
    fields = SPACES.split(line) if delimiter is None else line.split(delimiter)
    return [field.strip().strip('"') for field in fields]


def is_number(field: str) -> bool:
    """Whether ``field`` is a decimal number, nan or inf."""
    try:
        float(field)
    except ValueError:
        return False
    return field.isascii() and "_" not in field


def parse_rows(data: memoryview, start: int, layout: TableLayout, max_rows: int | None) -> np.ndarray:
    """float64 (rows, len(layout.used)) from the lines of ``data`` from byte ``start`` on, ``max_rows`` at most.

    Blank lines are not rows. Raises BadCloud with the line number if a row has other than ``layout.width`` fields
    or a field that is no number.
    """
    whole = len(layout.used) == layout.width
    if max_rows is not None:
        max_rows = min(max_rows, count_lines(data))  # numpy reserves memory for as many
    lines = io.BufferedReader(MemoryFile(data, start), 1 << 20)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*contained no data")
            table = np.loadtxt(
                lines,
                delimiter=layout.delimiter,
                comments=list(layout.comments),
                usecols=None if whole else layout.used,
                ndmin=2,
                max_rows=max_rows,
                quotechar='"' if len(layout.comments) == 1 else None,
                encoding="latin-1",
            )
    except ValueError:
        table = None
    if table is not None and not len(table):
        return np.empty((0, len(layout.used)))
    if table is None or table.shape[1] != len(layout.used):
        raise BadCloud(_find_fault(data, start, layout) or "The table cannot be read as rows of numbers.")
    return table


def _find_fault(data: memoryview, start: int, layout: TableLayout) -> str | None:
    lines = io.BufferedReader(MemoryFile(data, start))
    for number, line in enumerate(lines, layout.line_number):
        fields = layout.split(line.decode("latin-1"))
        if fields and len(fields) != layout.width:
            return f"Line {number} has {len(fields)} columns; expected {layout.width} as in the rows before."
        for index in layout.used if fields else ():
            if not is_number(fields[index]):
                return f"Line {number}, column {index + 1}: expected a number, found '{fields[index]:.40}'."
    return None
