"""The lines before the first row of a text table: names of columns, comments, the count of a .pts file."""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from app.clouds.columns import XYZ, canonical
from app.clouds.encoding import as_text
from app.clouds.memory_file import MemoryFile
from app.clouds.number_table import is_number, split_fields
from app.clouds.table_cells import BLANKS, DECIMAL_COMMA, GROUPED, is_missing
from app.errors import BadCloud

MAX_LINE_BYTES = 65536
MAX_HEAD_LINES = 1000
DELIMITERS = (";", "\t", ",")
SEPARATORS = re.compile(r"[;,\s]+")
COMMENTS = ("#", "//")
PERCENT = "%"  # begins the line of names of LAStools, and comments of MATLAB
REMARK = re.compile(r"(?:#|//)\s")

Header = tuple[tuple[str, ...], str | None]
"""Names of columns, and the delimiter that parts them; None for blanks and tabs."""


@dataclass
class Head:
    """``lines`` of words (the last is line ``last_line``) and ``comments`` before the rows, the count of a .pts file,
    and the place of the first row.

    ``names`` are those of the header that names x, y and z, without one None; ``delimiter`` is that of the rows, None
    for blanks and tabs; ``is_mixed`` if several delimiters part them. ``headers`` are those found in each line so far.
    """

    lines: list[str] = field(default_factory=list)
    last_line: int = 0
    comments: list[str] = field(default_factory=list)
    num_points: int | None = None
    first_row: str = ""
    start: int = 0
    line_number: int = 0
    names: tuple[str, ...] | None = None
    header: str = ""
    delimiter: str | None = None
    is_mixed: bool = False
    headers: dict[str, list[Header]] = field(default_factory=dict)

    @property
    def fields(self) -> list[str]:
        """The values of the first row, as text."""
        row = SEPARATORS.sub(" ", self.first_row) if self.is_mixed else self.first_row
        return split_fields(row, self.delimiter)

    def columns_of(self, line: str) -> list[str]:
        """The fields of a line of the head, parted as the rows are."""
        return split_fields(line, self.delimiter)

    @property
    def unread(self) -> list[str]:
        """Lines of words that are not the header."""
        return [line for line in self.lines if line != self.header]


def read_head(data: memoryview, bindings: Mapping[str, str]) -> Head:
    """The head of the table in ``data``; ``bindings`` are a request's columns by meaning, which make a header too.

    Raises BadCloud if no row of at least three numbers is found, and if lines before it name no coordinates.
    """
    head = Head()
    lines = io.BufferedReader(MemoryFile(data))
    while not head.first_row:
        head.start = lines.tell()
        head.line_number += 1
        raw = lines.readline(MAX_LINE_BYTES)
        if not raw:
            if len(head.lines) > 1:
                found = head.lines[-1]
                raise BadCloud(f"Line {head.last_line}: expected a row of numbers, found '{found:.40}'.")
            raise BadCloud("The text holds no row of at least three numbers.")
        if len(raw) == MAX_LINE_BYTES or head.line_number > MAX_HEAD_LINES:
            raise BadCloud(f"No row of numbers in the first {head.line_number} lines; this is no table of points.")
        _take_line(head, as_text(raw).strip(" \r\n"), bindings)
    _find_layout(head, bindings)
    return head


def _take_line(head: Head, line: str, bindings: Mapping[str, str]) -> None:
    if line.startswith((*COMMENTS, PERCENT)):
        head.comments.append(line.lstrip("#/% \t"))
        return
    whole, line = line, _without_comment(line)
    words = [word for word in SEPARATORS.split(line.replace('"', "")) if word]
    if not words or words[0].lower().startswith("sep="):  # Excel's word on the delimiter
        return
    numbers = sum(_is_digits(word) for word in words)
    named = next(_headers(head, bindings), None) if head.lines and numbers < 3 else None
    if numbers >= 3 or (named and _fits(line, *named)):
        head.first_row = line
    elif len(words) == 1 and line.isascii() and line.strip().isdigit() and head.num_points is None:
        head.num_points = int(line)
    elif numbers and numbers == len(words):
        raise BadCloud(f"Line {head.line_number} has {numbers} numbers; a point needs at least x, y and z.")
    else:
        head.lines.append(whole)
        head.last_line = head.line_number


def _without_comment(line: str) -> str:
    for mark in COMMENTS:
        line = line.partition(mark)[0].rstrip(" ")
    return line


def _readings(line: str) -> list[str]:
    """A line of names as it is and without the comment in it, first the likelier: "Scalar field #2" has none."""
    readings = [line, _without_comment(line)]
    return readings[::-1] if REMARK.search(line) else readings


def _is_digits(word: str) -> bool:
    return is_number(word) or is_number(word.replace(".", "").replace("'", ""))


def _fits(line: str, names: tuple[str, ...], delimiter: str | None) -> bool:
    """Whether ``line`` is a row under a header: as many fields; one is a number, or all are missing."""
    fields = split_fields(line, delimiter)
    values = [is_number(field.replace(",", ".")) for field in fields]
    return len(fields) >= len(names) and (any(values) or all(map(is_missing, fields)))


def _headers(head: Head, bindings: Mapping[str, str]) -> Iterator[Header]:
    """Headers among the lines of words, then among the comments; the likeliest, the last line, comes first."""
    for stated in (*reversed(head.lines), *reversed(head.comments)):
        if stated not in head.headers:
            head.headers[stated] = list(_headers_in(stated, bindings))
        yield from head.headers[stated]


def _headers_in(stated: str, bindings: Mapping[str, str]) -> Iterator[Header]:
    """Names and delimiter of each reading of a line that names x, y and z."""
    for line in _readings(stated):
        for delimiter in (*DELIMITERS, None):
            names = tuple(split_fields(line, delimiter))
            bound = {meaning for meaning, name in bindings.items() if name in names}
            if set(XYZ) <= bound | {canonical(name) for name in names}:
                yield names, delimiter
                break


def _find_layout(head: Head, bindings: Mapping[str, str]) -> None:
    """Set how the rows are parted, and the names that go with them."""
    found = list(_headers(head, bindings))
    own = _delimiter(head.first_row)
    for names, theirs in found:
        for delimiter in dict.fromkeys((theirs, own)):
            fields = split_fields(head.first_row, delimiter)
            while len(fields) > len(names) and not fields[-1]:
                fields.pop()
            if len(fields) == len(names):
                head.delimiter, head.names, head.header = delimiter, names, _line_of(head, names, theirs)
                return
    head.delimiter = own
    if own is None and not all(map(_is_cell, split_fields(head.first_row, None))):
        head.is_mixed = all(map(_is_cell, SEPARATORS.split(head.first_row.strip("; ,\t"))))
    if found and (line := _line_of(head, *found[0])):
        head.names, head.header = found[0][0], line


def _is_cell(word: str) -> bool:
    return is_number(word) or is_missing(word) or DECIMAL_COMMA.fullmatch(word) is not None


def _line_of(head: Head, names: tuple[str, ...], delimiter: str | None) -> str:
    return next(
        (line for line in head.lines if names in (tuple(split_fields(text, delimiter)) for text in _readings(line))),
        "",
    )


def _delimiter(row: str) -> str | None:
    """The separator that splits ``row`` into fields of at most one number each; None for blanks."""
    for delimiter in DELIMITERS:
        fields = split_fields(row, delimiter)
        if len(fields) >= 3 and not any(_is_several(field, delimiter) for field in fields):
            return delimiter
    return None


def _is_several(field: str, delimiter: str) -> bool:
    """Whether ``field`` is more than one number, or has the comma of a list at its end."""
    parts = field.split()
    grouped = delimiter != "," and GROUPED[BLANKS].fullmatch(field)
    return field.endswith(",") or (len(parts) > 1 and not grouped and all(map(_is_cell, parts)))
