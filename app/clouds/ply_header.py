"""The header of a PLY file: its elements, their properties, and the start of the data."""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.clouds.encoding import as_text
from app.clouds.records import free_name
from app.errors import BadCloud

MAX_HEADER_BYTES = 1 << 20

TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8", "bool"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("long", "int64"), "i8"),
    **dict.fromkeys(("ulong", "uint64"), "u8"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
VERTEX = ("vertex", "vertices", "point", "points")
ENDS = {b"\n": rb"\r?\n", b"\r\n": rb"\r?\n", b"\r": rb"\r"}  # of end_header, by the end of the first line
BYTE_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """One property: ``dtype`` of its values, ``length`` the dtype of the count before them if it is a list.

    ``key`` is its name, or one like it if an element names several properties so.
    """

    name: str
    dtype: np.dtype
    length: np.dtype | None = None
    key: str = ""


@dataclass(frozen=True)
class Element:
    """``count`` rows of ``properties``."""

    name: str
    count: int
    properties: tuple[Property, ...]

    @property
    def has_lists(self) -> bool:
        """Whether rows can differ in size."""
        return any(prop.length is not None for prop in self.properties)

    def dtype(self, lengths: dict[str, int]) -> np.dtype:
        """A row as a structured dtype with lists of ``lengths``; the count of list ``p`` is the field ``#p``."""
        fields: list[tuple[Any, ...]] = []
        for prop in self.properties:
            if prop.length is None:
                fields.append((prop.key, prop.dtype))
            else:
                fields += [("#" + prop.key, prop.length), (prop.key, prop.dtype, (lengths[prop.key],))]
        return np.dtype(fields)

    @property
    def smallest_row_bytes(self) -> int:
        """Bytes that a binary row takes at least."""
        return sum((prop.length or prop.dtype).itemsize for prop in self.properties)


@dataclass(frozen=True)
class Header:
    """``format`` is a key of ``BYTE_ORDERS``; data starts at byte ``size``; ``lines`` are the header's, without eol.

    ``unread`` are those that were not understood, and do not say where the vertices lie.
    """

    format: str
    elements: tuple[Element, ...]
    size: int
    eol: str
    lines: tuple[str, ...]
    unread: tuple[str, ...] = ()

    @property
    def vertex(self) -> Element:
        """The element of the points. Raises BadCloud without one."""
        index = _vertex_index([element.name for element in self.elements])
        if index is None:
            names = ", ".join(element.name[:40] for element in self.elements[:8]) or "none"
            raise BadCloud(f"The PLY has no element 'vertex'; found: {names}.")
        return self.elements[index]

    @property
    def later(self) -> tuple[Element, ...]:
        """The elements after the vertices."""
        return self.elements[self.elements.index(self.vertex) + 1 :]

    @property
    def is_ascii(self) -> bool:
        """Whether rows are lines."""
        return self.format == "ascii"

    @property
    def comments(self) -> list[str]:
        """The text of every ``comment`` and ``obj_info``."""
        pairs = [line.split(None, 1) for line in map(_readable, self.lines)]
        return [pair[1] for pair in pairs if len(pair) == 2 and pair[0] in ("comment", "obj_info")]


def read_header(data: memoryview) -> Header:
    """Parse the header; any line ending, ``obj_info`` and comments anywhere. Raises BadCloud."""
    head = bytes(data[:MAX_HEADER_BYTES])
    start = re.match(rb"ply[ \t]*(\r\n|\n|\r)", head)
    if start is None:
        raise BadCloud("Not a PLY file: it does not start with a line 'ply'.")
    eol = start[1]
    end = re.search(rb"[\r\n][ \t]*end_header[ \t]*" + ENDS[eol], head, re.IGNORECASE)
    if end is None:
        raise BadCloud("The PLY header has no line 'end_header'; the file is cut short or damaged.")
    text = head[: end.start()].removesuffix(b"\r").decode("utf-8", "surrogateescape")
    lines = tuple(re.split("\r\n|\n|\r", text))
    format, elements, unread = _parse(lines)
    return Header(format, elements, end.end(), eol.decode(), lines, unread)


def _readable(line: str) -> str:
    return as_text(line.encode("utf-8", "surrogateescape"))


def _vertex_index(names: list[str]) -> int | None:
    lower = [name.lower() for name in names]
    return next((lower.index(name) for name in VERTEX if name in lower), None)


def _parse(lines: tuple[str, ...]) -> tuple[str, tuple[Element, ...], tuple[str, ...]]:
    """Format, elements and lines that say nothing of these; BadCloud if the place of the vertices depends on one
    that is not understood."""
    format = ""
    elements: list[tuple[str, int, list[Property]]] = []
    unread: list[str] = []
    odd: list[tuple[int, str]] = []  # index of the element that a line belongs to, and what is wrong with the line
    for number, line in enumerate(map(_readable, lines[1:]), 2):
        words = line.split()
        match [words[0].lower(), *words[1:]] if words else []:
            case [] | ["comment" | "obj_info", *_]:
                continue
            case ["format", stated, *_] if stated.lower() in BYTE_ORDERS and not format:
                format = stated.lower()
            case ["element", name, count, *_] if format and count.isascii() and count.isdigit():
                elements.append((name, int(count), []))
            case ["property", "list" | "LIST", length, kind, name, *_] if (
                elements and _is_count(length) and _is_type(kind)
            ):
                elements[-1][2].append(Property(name, _dtype(kind, format), _dtype(length, format)))
            case ["property", kind, name, *_] if elements and _is_type(kind):
                elements[-1][2].append(Property(name, _dtype(kind, format)))
            case ["property" | "element" | "format", *_]:
                odd.append((len(elements) - 1, f"Line {number} of the PLY header is not understood: '{line:.80}'."))
            case _:
                unread.append(line)
    if not format:
        raise BadCloud(odd[0][1] if odd else "The PLY header has no line 'format'.")
    vertex = _vertex_index([name for name, _, _ in elements])
    for index, fault in odd:
        if vertex is None or index <= vertex:
            raise BadCloud(fault)
    return (
        format,
        tuple(Element(name, count, _keyed(properties)) for name, count, properties in elements),
        tuple(unread),
    )


def _keyed(properties: list[Property]) -> tuple[Property, ...]:
    taken: set[str] = set()
    keyed = []
    for prop in properties:
        key = prop.name if prop.name not in taken else free_name(prop.name, taken)
        taken.add(key)
        keyed.append(replace(prop, key=key))
    return tuple(keyed)


def _is_count(kind: str) -> bool:
    return TYPES.get(kind.lower(), "f")[0] in "iu"


def _is_type(kind: str) -> bool:
    return kind.lower() in TYPES


def _dtype(kind: str, format: str) -> np.dtype:
    return np.dtype(BYTE_ORDERS[format] + TYPES[kind.lower()])
