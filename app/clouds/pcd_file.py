"""The frame of a PCD file (Point Cloud Data, versions .5 to .7) and its points as raw records.

Binary points are records, field after field; compressed ones are one LZF block that holds field after field for all
points; text has one line a point. All three end as the same matrix of bytes.
"""

import io
import struct
from dataclasses import dataclass

import lzf
import numpy as np

from app.clouds.checks import check_num_points
from app.clouds.records import column
from app.errors import BadCloud

MAX_HEADER_BYTES = 1 << 16
MAX_VALUES = 4096  # of one point; feature histograms have some hundred
MAX_LZF_RATIO = 264 / 3  # the longest match, 264 bytes, is written in 3
PADDING = "_"
PACKED_COLOUR = ("rgb", "rgba")
DEFAULT_VIEWPOINT = "0 0 0 1 0 0 0"
KINDS = {"F": (4, 8), "U": (1, 2, 4, 8), "I": (1, 2, 4, 8)}
EXACT_IN_TEXT = ("i8", "u8")  # types that do not survive a way through float64


@dataclass(frozen=True)
class Field:
    """``count`` values of type ``dtype`` that start ``offset`` bytes into every record."""

    name: str
    dtype: np.dtype
    count: int
    offset: int

    @property
    def num_bytes(self) -> int:
        return self.dtype.itemsize * self.count


@dataclass(frozen=True)
class PcdHeader:
    """What the lines before the points state; ``body_start`` is the byte after them."""

    fields: list[Field]
    width: int
    height: int
    num_points: int
    viewpoint: str
    encoding: str
    body_start: int

    @property
    def record_length(self) -> int:
        return sum(field.num_bytes for field in self.fields)


def parse_header(data: memoryview) -> PcdHeader:
    """The header of ``data``; BadCloud where a line is missing or makes no sense."""
    values: dict[str, list[str]] = {}
    start = 0
    text = bytes(data[:MAX_HEADER_BYTES])
    while "DATA" not in values:
        end = text.find(b"\n", start)
        if end < 0:
            raise BadCloud("The PCD header has no DATA line: the file is cut off, or no PCD file.")
        words = text[start:end].decode("latin-1").split("#")[0].split()
        if words:
            values[words[0].upper()] = words[1:]
        start = end + 1
    try:
        return _header(values, start)
    except (ValueError, IndexError) as error:
        raise BadCloud(f"The PCD header cannot be understood: {error}.") from None


def _header(values: dict[str, list[str]], body_start: int) -> PcdHeader:
    names = values.get("FIELDS") or values.get("COLUMNS") or []
    num_fields = len(names)
    sizes = [int(size) for size in values.get("SIZE", ["4"] * num_fields)]
    kinds = [kind.upper() for kind in values.get("TYPE", ["F"] * num_fields)]
    counts = [int(count) for count in values.get("COUNT", ["1"] * num_fields)]
    if not num_fields == len(sizes) == len(kinds) == len(counts) > 0:
        raise BadCloud(
            f"The PCD header names {num_fields} fields with {len(sizes)} sizes, {len(kinds)} types and {len(counts)} "
            "counts; it needs as many of each."
        )
    if sum(counts) > MAX_VALUES:
        raise BadCloud(f"The PCD header states {sum(counts)} values a point; at most {MAX_VALUES} are read.")
    fields, offset = [], 0
    for name, size, kind, count in zip(names, sizes, kinds, counts, strict=True):
        if size not in KINDS.get(kind, ()) or count < 1:
            raise BadCloud(f"PCD field {name} has type {kind}, size {size}, count {count}, which PCD does not know.")
        fields.append(Field(name, np.dtype(f"<{kind.lower()}{size}"), count, offset))
        offset += fields[-1].num_bytes
    width = int(values["WIDTH"][0]) if "WIDTH" in values else None
    height = int(values["HEIGHT"][0]) if "HEIGHT" in values else 1
    num_points = int(values["POINTS"][0]) if "POINTS" in values else (width or 0) * height
    if width is None or width * height != num_points:
        width, height = num_points, 1
    viewpoint = " ".join(values.get("VIEWPOINT", [])) or DEFAULT_VIEWPOINT
    return PcdHeader(fields, width, height, num_points, viewpoint, values["DATA"][0].lower(), body_start)


def read_records(data: memoryview, header: PcdHeader, max_points: int | None) -> np.ndarray:
    """The points of ``data`` as uint8 (N, record_length), checked against the bytes before memory is taken.

    Raises BadCloud where the body cannot hold the points that the header states, TooLarge above ``max_points``.
    """
    check_num_points(header.num_points, max_points)
    body = data[header.body_start :]
    if header.encoding == "ascii":
        return _from_text(body, header)
    if header.encoding == "binary":
        flat = _exactly(body, header.num_points * header.record_length, header)
        return np.frombuffer(flat, np.uint8).reshape(header.num_points, header.record_length)
    if header.encoding == "binary_compressed":
        return _from_compressed(body, header)
    raise BadCloud(f"PCD data is {header.encoding}; ascii, binary and binary_compressed can be read.")


def _exactly(body: memoryview, num_bytes: int, header: PcdHeader) -> memoryview:
    if len(body) < num_bytes:
        raise BadCloud(
            f"The PCD header says {header.num_points} points, {num_bytes} bytes; only {len(body)} bytes follow: "
            "the file is cut off or damaged."
        )
    return body[:num_bytes]


def _from_compressed(body: memoryview, header: PcdHeader) -> np.ndarray:
    compressed_size, size = struct.unpack_from("<II", _exactly(body, 8, header))
    stored = [field for field in header.fields if field.name != PADDING]
    if size != header.num_points * sum(field.num_bytes for field in stored):
        stored = header.fields  # PCL leaves padding out of the block, other writers do not
    if size != header.num_points * sum(field.num_bytes for field in stored):
        raise BadCloud(
            f"The compressed PCD data states {size} bytes, but {header.num_points} points of "
            f"{header.record_length} bytes need {header.num_points * header.record_length}."
        )
    block = _exactly(body[8:], compressed_size, header)
    if size > compressed_size * MAX_LZF_RATIO:
        raise BadCloud(f"{compressed_size} bytes of LZF data cannot hold {size} bytes: the file is damaged.")
    try:
        plain = lzf.decompress(bytes(block), size)
    except ValueError as error:
        raise BadCloud(f"The compressed PCD data is damaged: {error}.") from None
    if plain is None or len(plain) != size:
        raise BadCloud("The compressed PCD data is damaged: it does not unpack to the size that it states.")
    records = np.zeros((header.num_points, header.record_length), np.uint8)
    start = 0
    for field in stored:
        part = np.frombuffer(plain, np.uint8, header.num_points * field.num_bytes, start)
        records[:, field.offset : field.offset + field.num_bytes] = part.reshape(header.num_points, field.num_bytes)
        start += part.size
    return records


def _from_text(body: memoryview, header: PcdHeader) -> np.ndarray:
    names = [(field, element) for field in header.fields for element in range(field.count)]
    if len(body) < 2 * len(names) * header.num_points - 1:
        raise BadCloud(f"The PCD header says {header.num_points} points; {len(body)} bytes of text cannot hold them.")
    dtype = [
        (str(index), field.dtype if field.dtype.str[1:] in EXACT_IN_TEXT else "<f8")
        for index, (field, _) in enumerate(names)
    ]
    text = io.BytesIO(bytes(body).replace(b",", b" "))
    try:
        table = np.loadtxt(text, dtype, comments="#", ndmin=1, max_rows=header.num_points)
    except ValueError as error:
        raise BadCloud(f"The points of the PCD file cannot be read as numbers: {error}.") from None
    if len(table) != header.num_points:
        raise BadCloud(f"The PCD header says {header.num_points} points, the file holds {len(table)}.")
    records = np.zeros((header.num_points, header.record_length), np.uint8)
    for index, (field, element) in enumerate(names):
        place = column(records, field.offset + element * field.dtype.itemsize, field.dtype)
        place[:] = _as_stored(table[str(index)], field)
    return records


def _as_stored(values: np.ndarray, field: Field) -> np.ndarray:
    """Numbers as they were written to the bytes that ``field`` has in a binary file."""
    if field.dtype.kind == "f":
        if field.name.lower() in PACKED_COLOUR and field.dtype.itemsize == 4 and _is_whole(values):
            return values.astype(np.uint32).view(np.float32)  # PCL writes packed colours as whole numbers
        with np.errstate(over="ignore"):
            return values.astype(field.dtype)
    limits = np.iinfo(field.dtype)
    if values.dtype.kind == "f":
        values = np.nan_to_num(np.rint(values))
        if len(values) and not limits.min <= values.min() <= values.max() <= limits.max:
            raise BadCloud(f"Values of the PCD field {field.name} do not fit its type {field.dtype}.")
    return values.astype(field.dtype)


def _is_whole(values: np.ndarray) -> bool:
    """Whether these are whole numbers, not floats whose bits are a colour: those are tiny, negative or NaN."""
    return bool(np.all((values >= 0) & (values < 2**32) & (values == np.rint(values))) and values.max(initial=0) >= 1)


def compose(
    fields: list[Field], records: np.ndarray, width: int, height: int, viewpoint: str = DEFAULT_VIEWPOINT
) -> bytes:
    """A binary PCD file of version 0.7."""
    lines = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        "FIELDS " + " ".join(field.name for field in fields),
        "SIZE " + " ".join(str(field.dtype.itemsize) for field in fields),
        "TYPE " + " ".join(field.dtype.kind.upper() for field in fields),
        "COUNT " + " ".join(str(field.count) for field in fields),
        f"WIDTH {width}",
        f"HEIGHT {height}",
        f"VIEWPOINT {viewpoint}",
        f"POINTS {len(records)}",
        "DATA binary\n",
    ]
    return "\n".join(lines).encode("latin-1") + records.tobytes()
