"""The header of a PLY file: its elements, their properties, and where the data starts."""

import re
from dataclasses import dataclass

import numpy as np

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
BYTE_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """One property: ``dtype`` of its values, ``length`` the dtype of the count before them where it is a list."""

    name: str
    dtype: np.dtype
    length: np.dtype | None = None


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
        fields: list[tuple] = []
        for prop in self.properties:
            if prop.length is None:
                fields.append((prop.name, prop.dtype))
            else:
                fields += [("#" + prop.name, prop.length), (prop.name, prop.dtype, (lengths[prop.name],))]
        return np.dtype(fields)

    @property
    def smallest_row_bytes(self) -> int:
        """Bytes that a binary row takes at least."""
        return sum((prop.length or prop.dtype).itemsize for prop in self.properties)


@dataclass(frozen=True)
class Header:
    """``format`` is a key of ``BYTE_ORDERS``; data starts at byte ``size``; ``lines`` are the header's, without eol."""

    format: str
    elements: tuple[Element, ...]
    size: int
    eol: str
    lines: tuple[str, ...]

    @property
    def is_ascii(self) -> bool:
        """Whether rows are lines."""
        return self.format == "ascii"

    @property
    def comments(self) -> list[str]:
        """The text of every ``comment`` and ``obj_info``."""
        pairs = [line.split(None, 1) for line in self.lines]
        return [pair[1] for pair in pairs if len(pair) == 2 and pair[0] in ("comment", "obj_info")]


def read_header(data: memoryview) -> Header:
    """Parse the header; any line ending, ``obj_info`` and comments anywhere. Raises BadCloud."""
    head = bytes(data[:MAX_HEADER_BYTES])
    start = re.match(rb"ply[ \t]*(\r\n|\n|\r)", head)
    if start is None:
        raise BadCloud("Not a PLY file: it does not start with a line 'ply'.")
    eol = start[1]
    end = re.search(re.escape(eol) + rb"end_header[ \t]*" + re.escape(eol), head)
    if end is None:
        raise BadCloud("The PLY header has no line 'end_header'; the file is cut short or damaged.")
    lines = tuple(head[: end.start()].decode("utf-8", "surrogateescape").split(eol.decode()))
    format, elements = _parse(lines)
    return Header(format, elements, end.end(), eol.decode(), lines)


def _parse(lines: tuple[str, ...]) -> tuple[str, tuple[Element, ...]]:
    format = ""
    elements: list[tuple[str, int, list[Property]]] = []
    for number, line in enumerate(lines[1:], 2):
        words = line.split()
        match words:
            case [] | ["comment" | "obj_info", *_]:
                continue
            case ["format", stated, _] if stated in BYTE_ORDERS and not format:
                format = stated
            case ["element", name, count] if format and count.isascii() and count.isdigit():
                elements.append((name, int(count), []))
            case ["property", "list", length, kind, name] if elements and _is_count(length) and kind in TYPES:
                elements[-1][2].append(Property(name, _dtype(kind, format), _dtype(length, format)))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1][2].append(Property(name, _dtype(kind, format)))
            case _:
                raise BadCloud(f"Line {number} of the PLY header is not understood: '{line:.80}'.")
    if not format:
        raise BadCloud("The PLY header has no line 'format'.")
    for name, _, properties in elements:
        names = [prop.name for prop in properties]
        if len(set(names)) < len(names):
            raise BadCloud(f"The PLY header names a property of element '{name}' twice.")
    return format, tuple(Element(name, count, tuple(properties)) for name, count, properties in elements)


def _is_count(kind: str) -> bool:
    return TYPES.get(kind, "f")[0] in "iu"


def _dtype(kind: str, format: str) -> np.dtype:
    return np.dtype(BYTE_ORDERS[format] + TYPES[kind])
