"""The header of a PCD file (Point Cloud Data, versions .5 to .7): what a point has, and how many there are."""

import io
import re
import struct
from dataclasses import dataclass, field, replace

import numpy as np

from app.clouds.columns import listed
from app.clouds.memory_file import MemoryFile
from app.clouds.number_table import is_number
from app.errors import BadCloud

MAX_HEADER_BYTES = 1 << 20
MAX_VALUES = 4096  # of one point; feature histograms have some hundred
PADDING = "_"
COMMENT = re.compile(r"(?:^|\s)#")  # within a word it is a part of the name
FIRST_LINE = "# .PCD v"
DEFAULT_VIEWPOINT = "0 0 0 1 0 0 0"
KINDS = {"F": (4, 8), "U": (1, 2, 4, 8), "I": (1, 2, 4, 8)}
WORDS = (
    "VERSION", "FIELDS", "COLUMNS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS", "DATA"
)  # fmt: skip
NUMBERS = {"WIDTH": 1, "HEIGHT": 1, "POINTS": 1, "VIEWPOINT": 7}  # how many a line has; another says something else


@dataclass(frozen=True)
class Field:
    """``count`` values of type ``dtype`` that start ``offset`` bytes into every record.

    ``letter`` is its type as the header states it; one that PCD does not know has a ``dtype`` of plain bytes.
    """

    name: str
    dtype: np.dtype
    count: int
    offset: int
    letter: str = ""

    @property
    def num_bytes(self) -> int:
        return self.dtype.itemsize * self.count


@dataclass(frozen=True)
class PcdHeader:
    """What the lines before the points state; ``body_start`` is the byte after these ``num_lines``.

    ``others`` are the lines, comments among them, that say nothing of where the points lie; ``warnings`` what had to be
    assumed.
    """

    fields: list[Field]
    width: int
    height: int
    num_points: int
    viewpoint: str
    encoding: str
    body_start: int
    num_lines: int = 0
    others: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)

    @property
    def is_doubtful(self) -> bool:
        """Whether the size of a record is that of types which PCD does not know."""
        return any(each.dtype.kind == "V" or each.count == 0 for each in self.fields)

    @property
    def record_length(self) -> int:
        return sum(each.num_bytes for each in self.fields)


def parse_header(data: memoryview) -> PcdHeader:
    """The header of ``data``; BadCloud if a line that the place of the points depends on is missing or makes no
    sense."""
    values: dict[str, list[str]] = {}
    others: list[str] = []
    start = 0
    text = bytes(data[:MAX_HEADER_BYTES])
    while "DATA" not in values:
        end = text.find(b"\n", start)
        if end < 0:
            raise BadCloud("The PCD header has no DATA line: the file is cut off, or no PCD file.")
        line = text[start:end].decode("latin-1").strip()
        words = COMMENT.split(line, 1)[0].split()
        word = words[0].upper() if words else ""
        if word in WORDS and word not in values and _is_sound(word, words[1:]):
            values[word] = words[1:]
        elif line and not line.startswith(FIRST_LINE):
            others.append(line)
        start = end + 1
    return _header(values, others, data, start)


def _is_sound(word: str, words: list[str]) -> bool:
    return word not in NUMBERS or (len(words) == NUMBERS[word] and all(map(is_number, words)))


def _header(values: dict[str, list[str]], others: list[str], data: memoryview, body_start: int) -> PcdHeader:
    fields = _fields(values)
    encoding = values["DATA"][0].lower() if values["DATA"] else "missing"
    viewpoint = " ".join(values.get("VIEWPOINT", [])) or DEFAULT_VIEWPOINT
    unread = [line for line in others if not line.startswith("#")]
    num_lines = bytes(data[:body_start]).count(b"\n")
    warnings = [f"Lines of the PCD header that are not understood: {listed(unread)}."] if unread else []
    header = PcdHeader(fields, 0, 1, 0, viewpoint, encoding, body_start, num_lines, tuple(others), warnings)
    stated, width, height = (_whole(values, word) for word in ("POINTS", "WIDTH", "HEIGHT"))
    area = None if width is None else width * (1 if height is None else height)
    known = [count for count in (stated, area) if count is not None]
    if len(set(known)) == 1:
        num_points = known[0]
    else:
        held = num_held(data[body_start:], header)
        num_points = held if held in known or not known else max((n for n in known if n <= held), default=known[0])
        said = f"{stated:,} points, but WIDTH and HEIGHT {area:,}" if known else "no number of points"
        warnings.append(f"The PCD header states {said}; {num_points:,} were read.")
    if width is None or area != num_points:
        width, height = num_points, 1
    return replace(header, width=width, height=1 if height is None else height, num_points=num_points)


def _fields(values: dict[str, list[str]]) -> list[Field]:
    names = values.get("FIELDS") or values.get("COLUMNS") or []
    if not names:
        raise BadCloud("The PCD header has no line FIELDS that names what a point has: the top of the file is missing.")
    num_fields = len(names)
    sizes, counts = (_numbers(values, word, number, num_fields) for word, number in (("SIZE", 4), ("COUNT", 1)))
    kinds = [kind.upper() for kind in values.get("TYPE", ["F"] * num_fields)]
    if not num_fields == len(sizes) == len(kinds) == len(counts):
        raise BadCloud(
            f"The PCD header names {num_fields} fields with {len(sizes)} sizes, {len(kinds)} types and {len(counts)} "
            "counts; it needs as many of each."
        )
    if sum(counts) > MAX_VALUES:
        raise BadCloud(f"The PCD header states {sum(counts)} values a point; at most {MAX_VALUES} are read.")
    fields, offset = [], 0
    for name, size, kind, count in zip(names, sizes, kinds, counts, strict=True):
        is_known = size in KINDS.get(kind, ()) and count > 0
        if not is_known and (name.lower() in ("x", "y", "z") or not 0 < size <= MAX_VALUES or count < 0):
            raise BadCloud(
                f"PCD field {name:.60} has type {kind:.8}, size {size}, count {count}, which PCD does not know."
            )
        dtype = np.dtype(f"<{kind.lower()}{size}" if is_known else f"V{size}")
        fields.append(Field(name, dtype, count, offset, kind))
        offset += fields[-1].num_bytes
    return fields


def _numbers(values: dict[str, list[str]], word: str, default: int, num_fields: int) -> list[int]:
    found = values.get(word, [str(default)] * num_fields)
    if not all(number.lstrip("-").isdigit() and len(number) < 10 for number in found):
        raise BadCloud(f"The PCD header's line {word} is not of whole numbers: '{' '.join(found):.60}'.")
    return [int(number) for number in found]


def _whole(values: dict[str, list[str]], word: str) -> int | None:
    """The number in the line ``word``, which ``_is_sound``; None if there is none."""
    number = float(values[word][0]) if word in values else np.nan
    return int(number) if number.is_integer() else None


def num_held(body: memoryview, header: PcdHeader) -> int:
    """How many points the body has room for."""
    if header.encoding == "ascii":
        return sum(not line.isspace() for line in io.BufferedReader(MemoryFile(body), 1 << 20))
    if header.encoding == "binary_compressed":
        size = struct.unpack_from("<I", body, 4)[0] if len(body) >= 8 else 0
        stored = sum(each.num_bytes for each in header.fields if each.name != PADDING)
        return size // stored if stored and size % stored == 0 else size // header.record_length
    return len(body) // header.record_length
