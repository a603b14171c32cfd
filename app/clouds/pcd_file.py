"""The points of a PCD file as raw records.

Binary points are records, field after field; compressed ones are one LZF block that holds field after field for all
points; text has one line a point. All three end as the same matrix of bytes.
"""

import io
import struct
from collections.abc import Sequence

import lzf
import numpy as np

from app.clouds.checks import check_num_points
from app.clouds.color import packed_bits
from app.clouds.columns import PACKED
from app.clouds.number_table import TableLayout
from app.clouds.pcd_header import DEFAULT_VIEWPOINT, FIRST_LINE, PADDING, WORDS, Field, PcdHeader, num_held
from app.clouds.records import column
from app.clouds.table_cells import parse_numbers, without_hashes
from app.errors import BadCloud

MAX_LZF_RATIO = 264 / 3  # the longest match, 264 bytes, is written in 3
EXACT_IN_TEXT = ("i8", "u8")  # types that do not survive a way through float64


def read_records(data: memoryview, header: PcdHeader, max_points: int | None) -> np.ndarray:
    """The points of ``data`` as uint8 (N, record_length), checked against the bytes before memory is taken.

    Raises BadCloud if the body cannot hold the points that the header states, TooLarge above ``max_points``.
    """
    check_num_points(header.num_points, max_points)
    body = data[header.body_start :]
    if header.is_doubtful:
        _check_doubtful(body, header)
    if header.encoding == "ascii":
        return _from_text(body, header)
    if header.encoding == "binary":
        flat = _exactly(body, header.num_points * header.record_length, header)
        if len(body) - len(flat) >= header.record_length:
            header.warnings.append(
                f"{len(body) - len(flat):,} bytes follow the {header.num_points:,} points that the PCD header states; "
                "they were not read."
            )
        return np.frombuffer(flat, np.uint8).reshape(header.num_points, header.record_length)
    if header.encoding == "binary_compressed":
        return _from_compressed(body, header)
    raise BadCloud(f"PCD data is {header.encoding}; ascii, binary and binary_compressed can be read.")


def _check_doubtful(body: memoryview, header: PcdHeader) -> None:
    """Raise BadCloud unless the bytes confirm the sizes of fields whose types PCD does not know."""
    odd = [each for each in header.fields if each.dtype.kind == "V" or each.count == 0]
    named = ", ".join(
        f"{each.name:.40} (type {each.letter:.8}, size {each.dtype.itemsize}, count {each.count})" for each in odd[:8]
    )
    is_packed = header.encoding == "binary_compressed" and len(body) >= 8
    size = struct.unpack_from("<I", body, 4)[0] if is_packed else len(body)
    if header.encoding == "ascii" or size != header.num_points * header.record_length:
        raise BadCloud(f"PCD fields of types that PCD does not know: {named}; the points behind them cannot be found.")
    header.warnings.append(f"PCD fields of types that PCD does not know are not read: {named}.")


def _exactly(body: memoryview, num_bytes: int, header: PcdHeader) -> memoryview:
    if len(body) < num_bytes:
        raise BadCloud(
            f"The PCD header says {header.num_points} points, {num_bytes} bytes; only {len(body)} bytes follow: "
            "the file is cut off or damaged."
        )
    return body[:num_bytes]


def _from_compressed(body: memoryview, header: PcdHeader) -> np.ndarray:
    compressed_size, size = struct.unpack_from("<II", _exactly(body, 8, header))
    stored = [each for each in header.fields if each.name != PADDING]
    if size != header.num_points * sum(each.num_bytes for each in stored):
        stored = header.fields  # PCL leaves padding out of the block, other writers do not
    if size != header.num_points * sum(each.num_bytes for each in stored):
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
    for each in stored:
        part = np.frombuffer(plain, np.uint8, header.num_points * each.num_bytes, start)
        records[:, each.offset : each.offset + each.num_bytes] = part.reshape(header.num_points, each.num_bytes)
        start += part.size
    return records


def _from_text(body: memoryview, header: PcdHeader) -> np.ndarray:
    places = [(each, element) for each in header.fields for element in range(each.count)]
    if len(body) < 2 * len(places) * header.num_points - 1:
        raise BadCloud(f"The PCD header says {header.num_points} points; {len(body)} bytes of text cannot hold them.")
    text = without_hashes(memoryview(bytes(body).replace(b",", b" ")))
    columns = _exact(text, places, header.num_points)
    if columns is None:
        layout = TableLayout(None, len(places), range(len(places)), header.num_lines + 1)
        columns = list(parse_numbers(text, layout, header.num_points).T)
    if len(columns[0]) != header.num_points:
        raise BadCloud(f"The PCD header says {header.num_points} points, the file holds {len(columns[0])}.")
    if bytes(text).count(b"\n") > header.num_points and (held := num_held(text, header)) > header.num_points:
        header.warnings.append(
            f"The PCD header states {header.num_points:,} points, but {held:,} rows follow; the others were not read."
        )
    records = np.zeros((header.num_points, header.record_length), np.uint8)
    for (each, element), values in zip(places, columns, strict=True):
        place = column(records, each.offset + element * each.dtype.itemsize, each.dtype)
        place[:] = _as_stored(values, each, header.warnings)
    return records


def _exact(text: memoryview, places: Sequence[tuple[Field, int]], num_points: int) -> list[np.ndarray] | None:
    """The columns of the rows, those in types that do not survive a way through float64 in these; None if there are
    no such fields, or a cell is no plain number."""
    kinds = [each.dtype if each.dtype.str[1:] in EXACT_IN_TEXT else np.dtype("<f8") for each, _ in places]
    if all(kind == "<f8" for kind in kinds):
        return None
    dtype = [(str(index), kind) for index, kind in enumerate(kinds)]
    try:
        table = np.loadtxt(io.BytesIO(text), dtype, comments="#", ndmin=1, max_rows=num_points)
    except ValueError:
        return None
    return [table[str(index)] for index in range(len(places))]


def _as_stored(values: np.ndarray, field: Field, warnings: list[str]) -> np.ndarray:
    """Numbers as they were written to the bytes that ``field`` has in a binary file."""
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    if field.dtype.kind == "f" and field.name.lower() in PACKED and field.dtype.itemsize == 4:
        bits = packed_bits(values)  # PCL writes packed colors as whole numbers
        if bits is not None:
            return bits.view(np.float32)
    if field.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(field.dtype)
    if missing.any():
        warnings.append(
            f"Missing values: {np.count_nonzero(missing):,} in {field.name:.60}, whose type has none; 0 was read."
        )
    limits = np.iinfo(field.dtype)
    if values.dtype.kind == "f":
        values = np.nan_to_num(np.rint(values))
        if len(values) and not limits.min <= values.min() <= values.max() <= limits.max:
            raise BadCloud(f"Values of the PCD field {field.name} do not fit its type {field.dtype}.")
    return values.astype(field.dtype)


def compose(
    fields: list[Field],
    records: np.ndarray,
    width: int,
    height: int,
    viewpoint: str = DEFAULT_VIEWPOINT,
    others: Sequence[str] = (),
) -> bytes:
    """A binary PCD file of version 0.7, with ``others`` among the lines of its header."""
    lines = [
        f"{FIRST_LINE}0.7 - Point Cloud Data file format",
        *(f"# {line}" if line.split()[0].upper() in WORDS else line for line in others),
        "VERSION 0.7",
        "FIELDS " + " ".join(each.name for each in fields),
        "SIZE " + " ".join(str(each.dtype.itemsize) for each in fields),
        "TYPE " + " ".join(each.letter or each.dtype.kind.upper() for each in fields),
        "COUNT " + " ".join(str(each.count) for each in fields),
        f"WIDTH {width}",
        f"HEIGHT {height}",
        f"VIEWPOINT {viewpoint}",
        f"POINTS {len(records)}",
        "DATA binary\n",
    ]
    return "\n".join(lines).encode("latin-1") + records.tobytes()
