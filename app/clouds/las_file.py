"""The frame of a LAS file: header and variable length records, checked against the bytes and kept as they are.

Every number that the header states is compared with the size of the file before anything is allocated or walked, so
a lying header costs nothing; what it states of anything but the points is believed as far as it goes and said in a
warning if it does not. Offsets follow the ASPRS LAS specification 1.4 R15, tables 3, 7 and 25.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import BinaryIO

import laspy
import numpy as np

from app.clouds.las_layout import COMPRESSED, MIN_HEADER, STANDARD_HEADERS, LasLayout, frame_points
from app.clouds.las_records import EVLR_HEADER, VLR_HEADER, Record, record_at, walk, walk_signed
from app.clouds.records import column
from app.errors import BadCloud

SIGNATURE = b"LASF"
INTERNAL_WAVEFORMS = 0x02


@dataclass(frozen=True)
class LasFile:
    """What stands in a LAS or LAZ file beside its points.

    Attributes:
        data: the whole file.
        header: the public header block, of the size that it has.
        vlrs: the records between header and points.
        gap: bytes between the last VLR and the points.
        evlrs: the records after the points; in LAS 1.3 the waveform packets, if they are in the file.
        points_start: offset of the point data.
        record_length: bytes of a point, extra bytes included.
        scale, offset: float64 (3,).
        warnings: where the header was not right, one sentence each.
        give_back: has the system take the pages of ``data`` that were read, if it is a mapped file that is larger than
            memory; else does nothing.
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
    warnings: list[str] = field(default_factory=list)
    give_back: Callable[[], None] = lambda: None

    @cached_property
    def fields(self) -> dict[str, tuple[np.dtype, int]]:
        """Type and byte offset of every standard field of the point format, under laspy's names."""
        dtype = laspy.PointFormat(self.point_format).dtype()
        return {name: (dtype[name], dtype.fields[name][1]) for name in dtype.names}

    def column(self, records: np.ndarray, name: str) -> np.ndarray:
        """The view (N,) of a standard field of ``records`` uint8 (N, record_length), by laspy's name."""
        dtype, start = self.fields[name]
        return column(records, start, dtype)

    def find(self, key: tuple[str, int]) -> Record | None:
        """The first VLR or EVLR with that user and record id."""
        return next(iter(self.find_all(key)), None)

    def find_all(self, key: tuple[str, int]) -> list[Record]:
        """Every VLR and EVLR with that user and record id, in the file's order."""
        return [record for record in self.vlrs + self.evlrs if record.key == key]


@cache
def standard_length(point_format: int) -> int:
    """Bytes of a point of that format without extra bytes."""
    return laspy.PointFormat(point_format).dtype().itemsize


def parse(data: memoryview) -> LasFile:
    """The frame of ``data``; BadCloud if the points cannot be as its numbers say."""
    size = len(data)
    if size < MIN_HEADER or bytes(data[:4]) != SIGNATURE:
        raise BadCloud(f"Not a LAS file, or one cut off inside its header: it has {size} bytes.")
    major, minor = data[24], data[25]
    if major != 1 or minor > 5:
        raise BadCloud(f"LAS version {major}.{minor} is unknown; 1.0 to 1.5 can be read.")
    raw_format, record_length = struct.unpack_from("<BH", data, 104)
    point_format = raw_format & 0x3F
    if point_format > 10 or raw_format & 0x40:
        raise BadCloud(f"LAS point format {raw_format & 0x7F} is unknown; 0 to 10 can be read.")
    standard = standard_length(point_format)
    if record_length < standard:
        raise BadCloud(f"Points of format {point_format} take {standard} bytes, the header says {record_length}.")
    warnings: list[str] = []
    header_size, vlrs = _header_and_vlrs(data, minor)
    layout = LasLayout(data, minor, header_size, point_format, bool(raw_format & COMPRESSED), record_length, vlrs)
    points_start, num_points = frame_points(layout, warnings)
    vlrs = _all_vlrs(layout, points_start, warnings)
    scale, offset = _scale_and_offset(data, num_points)
    vlrs_end = vlrs[-1].end if vlrs else header_size
    points_end = points_start + (8 if layout.compressed else num_points * record_length)
    evlrs = _evlrs(data, layout, points_start, points_end, warnings)
    if not layout.compressed and not evlrs and size > points_end:
        warnings.append(f"{size - points_end:,} bytes after the points are none that the header tells of: left out.")
    return LasFile(
        data=data,
        header=bytes(data[:header_size]),
        vlrs=vlrs,
        gap=bytes(data[vlrs_end:points_start]),
        evlrs=evlrs,
        minor=minor,
        point_format=point_format,
        compressed=layout.compressed,
        record_length=record_length,
        num_points=num_points,
        points_start=points_start,
        scale=scale,
        offset=offset,
        warnings=warnings,
    )


def _header_and_vlrs(data: memoryview, minor: int) -> tuple[int, list[Record]]:
    """Bytes of the header, and as many VLRs behind it as are stated, wherever the points are said to begin.

    If no VLR follows a header of the size that is stated, one of the version's size is tried.
    """
    stated_size, points_start, num_vlrs = struct.unpack_from("<HII", data, 94)
    standard = STANDARD_HEADERS[minor]
    end = points_start if MIN_HEADER <= points_start <= len(data) else len(data)
    sizes = [size for size in dict.fromkeys((stated_size, standard, MIN_HEADER)) if MIN_HEADER <= size <= end]
    signed = {size: len(walk_signed(data, size, end)) for size in sizes}
    header_size = max(sizes, key=lambda size: signed[size])
    if not signed[header_size] and header_size < standard <= end:
        header_size = standard
    vlrs = walk(data, header_size, num_vlrs, VLR_HEADER, end)
    vlrs_end = vlrs[-1].end if vlrs else header_size
    return header_size, vlrs + walk_signed(data, vlrs_end, len(data), num_vlrs - len(vlrs))


def _all_vlrs(layout: LasLayout, points_start: int, warnings: list[str]) -> list[Record]:
    """The VLRs that end before the points, those with a user id also beyond the number that is stated."""
    stated_size, _, num_vlrs = struct.unpack_from("<HII", layout.data, 94)
    vlrs = [vlr for vlr in layout.vlrs if vlr.end <= points_start]
    vlrs += walk_signed(layout.data, vlrs[-1].end if vlrs else layout.header_size, points_start)
    if layout.header_size != stated_size:
        warnings.append(f"The LAS header states a size of {stated_size} bytes and has {layout.header_size}.")
    if len(vlrs) != num_vlrs:
        warnings.append(f"The LAS header counts {num_vlrs:,} VLRs; {len(vlrs):,} stand before the points.")
    return vlrs


def _scale_and_offset(data: memoryview, num_points: int) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.frombuffer(data, "<f8", 6, 131)
    scale, offset = numbers[:3], numbers[3:]
    if num_points and not (np.isfinite(numbers).all() and scale.all()):
        raise BadCloud(f"Scale {scale.tolist()} and offset {offset.tolist()} must be finite and the scale not zero.")
    return scale, offset


def _evlrs(
    data: memoryview, layout: LasLayout, points_start: int, points_end: int, warnings: list[str]
) -> list[Record]:
    evlrs = []
    start, count = layout.stated_evlrs
    if count:
        evlrs = walk(data, start, count, EVLR_HEADER, len(data)) if start >= points_end else []
        if len(evlrs) < count:
            warnings.append(
                f"The LAS header counts {count:,} EVLRs from byte {start:,}; {len(evlrs):,} are there, the others are "
                "cut off or damaged: left out."
            )
    if layout.minor == 3 and layout.header_size >= 235 and data[6] & INTERNAL_WAVEFORMS:
        start = struct.unpack_from("<Q", data, 227)[0]
        waveforms = record_at(data, start, EVLR_HEADER, len(data)) if start > points_start else None
        evlrs = [waveforms] if waveforms else []
    return evlrs


def head(file: LasFile, vlrs: list[Record], record_length: int, compressed: bool) -> bytes:
    """Header, ``vlrs`` and gap of a file with the points of ``file`` in records of ``record_length`` bytes."""
    header = bytearray(file.header.ljust(STANDARD_HEADERS[file.minor], b"\0"))
    body = b"".join(vlr.raw for vlr in vlrs) + file.gap
    raw_format = file.point_format | (COMPRESSED if compressed else 0)
    points_start = len(header) + len(body)
    struct.pack_into("<HIIBH", header, 94, len(header), points_start, len(vlrs), raw_format, record_length)
    legacy = struct.unpack_from("<I", header, 107)[0]
    if file.minor >= 4:
        struct.pack_into("<Q", header, 247, file.num_points)
        legacy = legacy if legacy == file.num_points else 0
    else:
        legacy = file.num_points
    struct.pack_into("<I", header, 107, legacy)
    return bytes(header) + body


def append_evlrs(out: BinaryIO, file: LasFile, evlrs: list[Record]) -> None:
    """Add ``evlrs`` after the points that end ``out`` and let the header point to them, waveforms included."""
    start = out.seek(0, io.SEEK_END)
    moved = {}
    for evlr in evlrs:
        moved[evlr.start] = out.tell()
        out.write(evlr.raw)
    if file.minor >= 4:
        out.seek(235)
        out.write(struct.pack("<QI", start if evlrs else 0, len(evlrs)))
    if file.minor >= 3:
        out.seek(227)
        (waveforms,) = struct.unpack("<Q", out.read(8))
        out.seek(227)
        out.write(struct.pack("<Q", moved.get(waveforms, waveforms)))
