"""The frame of a LAS file: header and variable length records, checked against the bytes and kept as they are.

Every number that the header states is compared with the size of the file before anything is allocated or walked, so
a lying header costs nothing. Offsets follow the ASPRS LAS specification 1.4 R15, tables 3, 7 and 25.
"""

import io
import struct
from dataclasses import dataclass, field
from functools import cached_property

import laspy
import numpy as np

from app.errors import BadCloud

SIGNATURE = b"LASF"
MIN_HEADER = 227
HEADER_1_4 = 375
VLR_HEADER = 54
EVLR_HEADER = 60
COMPRESSED = 0x80
INTERNAL_WAVEFORMS = 0x02

LASZIP = ("laszip encoded", 22204)
EXTRA_BYTES = ("LASF_Spec", 4)
COPC_INFO = ("copc", 1)
COPC_HIERARCHY = ("copc", 1000)


@dataclass(frozen=True)
class Record:
    """A variable length record: ``raw`` is its header and data, in the file itself; ``start`` where it began there."""

    raw: bytes | memoryview
    header_size: int
    start: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """User id and record id."""
        user_id = bytes(self.raw[2:18]).split(b"\0")[0].decode("latin-1")
        return user_id, int.from_bytes(self.raw[18:20], "little")

    @property
    def data(self) -> bytes:
        return bytes(self.raw[self.header_size :])

    def with_data(self, data: bytes) -> "Record":
        """The same record around other ``data``; BadCloud where a VLR cannot hold that much."""
        length_type, length_end = ("<H", 22) if self.header_size == VLR_HEADER else ("<Q", 28)
        if length_end == 22 and len(data) > 0xFFFF:
            raise BadCloud(f"The record {self.key} of the LAS file has no room for further dimensions.")
        head = bytes(self.raw[: self.header_size])
        head = head[:20] + struct.pack(length_type, len(data)) + head[length_end:]
        return Record(head + data, self.header_size, self.start)


def new_vlr(key: tuple[str, int], description: str, data: bytes) -> Record:
    """A VLR with the user and record id of ``key``."""
    head = struct.pack("<H16sHH32s", 0, key[0].encode(), key[1], 0, description.encode())
    return Record(head, VLR_HEADER).with_data(data)


@dataclass(frozen=True)
class LasFile:
    """What stands in a LAS or LAZ file beside its points.

    Attributes:
        data: the whole file.
        header: the public header block, of the size that it states.
        vlrs: the records between header and points.
        gap: bytes between the last VLR and the points.
        evlrs: the records after the points; in LAS 1.3 the waveform packets, if they are in the file.
        points_start: offset of the point data.
        record_length: bytes of a point, extra bytes included.
        scale, offset: float64 (3,).
    """

    data: memoryview
    header: bytes
    vlrs: list[Record]
    gap: bytes
    evlrs: list[Record]
    minor: int
    point_format: int
    compressed: bool
    record_length: int
    num_points: int
    points_start: int
    scale: np.ndarray = field(repr=False)
    offset: np.ndarray = field(repr=False)

    @cached_property
    def fields(self) -> dict[str, tuple[np.dtype, int]]:
        """Type and byte offset of every standard field of the point format, under laspy's names."""
        dtype = laspy.PointFormat(self.point_format).dtype()
        return {name: (dtype[name], dtype.fields[name][1]) for name in dtype.names}

    def find(self, key: tuple[str, int]) -> Record | None:
        """The first VLR or EVLR with that user and record id."""
        return next((record for record in self.vlrs + self.evlrs if record.key == key), None)


def standard_length(point_format: int) -> int:
    """Bytes of a point of that format without extra bytes."""
    return laspy.PointFormat(point_format).dtype().itemsize


def check_reaches(data: memoryview, start: int, num_bytes: int, what: str) -> None:
    """Raise BadCloud where ``data`` ends before ``what``, of ``num_bytes``, which the file says is at ``start``."""
    missing = start + num_bytes - len(data)
    if missing > 0:
        raise BadCloud(
            f"The file is cut off or damaged: {what} should be at byte {start:,}, but {len(data):,} bytes are all "
            f"there is; at least {missing:,} are missing. Send the whole file."
        )


def parse(data: memoryview) -> LasFile:
    """The frame of ``data``; BadCloud where its numbers contradict each other or the size of the file."""
    size = len(data)
    if size < MIN_HEADER or bytes(data[:4]) != SIGNATURE:
        raise BadCloud(f"Not a LAS file, or one cut off inside its header: it has {size} bytes.")
    major, minor = data[24], data[25]
    header_size, points_start, num_vlrs, raw_format, record_length = struct.unpack_from("<HIIBH", data, 94)
    if major != 1 or minor > 5:
        raise BadCloud(f"LAS version {major}.{minor} is unknown; 1.0 to 1.5 can be read.")
    least = HEADER_1_4 if minor >= 4 else MIN_HEADER
    if not least <= header_size <= points_start <= size:
        raise BadCloud(
            f"The LAS header is incoherent or the file cut off: header of {header_size} bytes (at least {least}), "
            f"points from byte {points_start}, file of {size} bytes."
        )
    point_format = raw_format & 0x3F
    if point_format > 10 or raw_format & 0x40:
        raise BadCloud(f"LAS point format {raw_format & 0x7F} is unknown; 0 to 10 can be read.")
    standard = standard_length(point_format)
    if record_length < standard:
        raise BadCloud(f"Points of format {point_format} take {standard} bytes, the header says {record_length}.")
    vlrs = _records(data, header_size, num_vlrs, VLR_HEADER, points_start)
    num_points = _num_points(data, minor)
    scale, offset = _scale_and_offset(data, num_points)
    file = LasFile(
        data=data,
        header=bytes(data[:header_size]),
        vlrs=vlrs,
        gap=bytes(data[header_size + sum(len(vlr.raw) for vlr in vlrs) : points_start]),
        evlrs=_evlrs(data, minor, header_size, points_start),
        minor=minor,
        point_format=point_format,
        compressed=bool(raw_format & COMPRESSED),
        record_length=record_length,
        num_points=num_points,
        points_start=points_start,
        scale=scale,
        offset=offset,
    )
    held = (size - points_start) // record_length
    if not file.compressed and num_points > held:
        raise BadCloud(f"The header says {num_points} points, the file holds {held}: it is cut off or damaged.")
    return file


def _num_points(data: memoryview, minor: int) -> int:
    legacy = struct.unpack_from("<I", data, 107)[0]
    return (struct.unpack_from("<Q", data, 247)[0] if minor >= 4 else 0) or legacy


def _scale_and_offset(data: memoryview, num_points: int) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.frombuffer(data, "<f8", 6, 131)
    scale, offset = numbers[:3], numbers[3:]
    if num_points and not (np.isfinite(numbers).all() and scale.all()):
        raise BadCloud(f"Scale {scale.tolist()} and offset {offset.tolist()} must be finite and the scale not zero.")
    return scale, offset


def _records(data: memoryview, start: int, count: int, header_size: int, end: int) -> list[Record]:
    name = "VLR" if header_size == VLR_HEADER else "EVLR"
    if start + count * header_size > end:
        raise BadCloud(f"The header says {count} {name}s, more than the {max(end - start, 0)} bytes there can hold.")
    records = []
    for index in range(count):
        record = _record(data, start, header_size, end)
        if record is None:
            raise BadCloud(f"{name} {index} of {count} reaches beyond its place: the file is cut off or damaged.")
        records.append(record)
        start += len(record.raw)
    return records


def _record(data: memoryview, start: int, header_size: int, end: int) -> Record | None:
    if start + header_size > end:
        return None
    length = struct.unpack_from("<H" if header_size == VLR_HEADER else "<Q", data, start + 20)[0]
    stop = start + header_size + length
    return Record(data[start:stop], header_size, start) if stop <= end else None


def _evlrs(data: memoryview, minor: int, header_size: int, points_start: int) -> list[Record]:
    evlrs = []
    if minor >= 4:
        start, count = struct.unpack_from("<QI", data, 235)
        if count and start < points_start:
            raise BadCloud(f"The header places EVLRs at byte {start}, before the points.")
        check_reaches(data, start, EVLR_HEADER, "the first EVLR")
        evlrs = _records(data, start, count, EVLR_HEADER, len(data))
    if minor == 3 and header_size >= 235 and data[6] & INTERNAL_WAVEFORMS:
        start = struct.unpack_from("<Q", data, 227)[0]
        waveforms = _record(data, start, EVLR_HEADER, len(data)) if start > points_start else None
        evlrs = [waveforms] if waveforms else []
    return evlrs


def head(file: LasFile, vlrs: list[Record], record_length: int, compressed: bool) -> bytes:
    """Header, ``vlrs`` and gap of a file with the points of ``file`` in records of ``record_length`` bytes."""
    header = bytearray(file.header)
    body = b"".join(vlr.raw for vlr in vlrs) + file.gap
    raw_format = file.point_format | (COMPRESSED if compressed else 0)
    struct.pack_into("<IIBH", header, 96, len(header) + len(body), len(vlrs), raw_format, record_length)
    return bytes(header) + body


def append_evlrs(out: io.BytesIO, file: LasFile, evlrs: list[Record]) -> None:
    """Add ``evlrs`` after the points that end ``out`` and let the header point to them, waveforms included."""
    start = out.tell()
    moved = {}
    for evlr in evlrs:
        moved[evlr.start] = out.tell()
        out.write(evlr.raw)
    with out.getbuffer() as written:
        if file.minor >= 4:
            struct.pack_into("<QI", written, 235, start if evlrs else 0, len(evlrs))
        if file.minor >= 3 and len(file.header) >= 235:
            waveforms = struct.unpack_from("<Q", written, 227)[0]
            struct.pack_into("<Q", written, 227, moved.get(waveforms, waveforms))
