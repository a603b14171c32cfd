"""Place and number of the points of a LAS file, settled among contradicting headers by what the bytes allow."""

import struct
from dataclasses import dataclass
from functools import cached_property

from app.clouds.las_records import LASZIP, Record
from app.errors import BadCloud

MIN_HEADER = 227
HEADER_1_4 = 375
STANDARD_HEADERS = {0: 227, 1: 227, 2: 227, 3: 235, 4: HEADER_1_4, 5: HEADER_1_4}  # least bytes, by minor version
LAYERED_FORMAT = 6  # and above: compressed in layers, whose chunks count their points
COMPRESSED = 0x80
SCAN_ANGLE_STEP = 0.006  # degrees, of point formats 6 and above
VARIABLE = 0xFFFFFFFF  # chunks of LAZ that have sizes of their own


@dataclass(frozen=True)
class LasLayout:
    """What a file's header says of its layout; ``vlrs`` are the records behind a header of ``header_size`` bytes."""

    data: memoryview
    minor: int
    header_size: int
    point_format: int
    compressed: bool
    record_length: int
    vlrs: list[Record]

    @cached_property
    def stated_start(self) -> int:
        """Offset of the points as stated."""
        return int(struct.unpack_from("<I", self.data, 96)[0])

    @cached_property
    def stated_counts(self) -> list[int]:
        """Numbers of points that are stated, that of 64 bits before the legacy one, zeros left out."""
        legacy = struct.unpack_from("<I", self.data, 107)[0]
        wide = struct.unpack_from("<Q", self.data, 247)[0] if self._has_1_4 else 0
        return [count for count in dict.fromkeys((wide, legacy)) if count]

    @cached_property
    def stated_evlrs(self) -> tuple[int, int]:
        """Offset and number of EVLRs as stated, zeros before LAS 1.4."""
        start, count = struct.unpack_from("<QI", self.data, 235) if self._has_1_4 else (0, 0)
        return start, count

    @property
    def _has_1_4(self) -> bool:
        return self.minor >= 4 and self.header_size >= HEADER_1_4

    @cached_property
    def chunk_size(self) -> int:
        """Points of a chunk in the LASzip record; VARIABLE if it states none, or 0, which means that to LASzip."""
        laszip = next((vlr.data for vlr in self.vlrs if vlr.key == LASZIP), b"")
        return (struct.unpack_from("<I", laszip, 12)[0] if len(laszip) >= 16 else 0) or VARIABLE

    def fits(self, start: int, count: int) -> bool:
        """Whether ``count`` points from ``start`` are just what the bytes after it hold."""
        if not self.compressed:
            return start + count * self.record_length in (len(self.data), self.stated_evlrs[0])
        table = table_start(self.data, start)
        if table is None:
            return False
        version, num_chunks = struct.unpack_from("<II", self.data, table)
        if version or not num_chunks:
            return False
        if self.point_format >= LAYERED_FORMAT and num_chunks == 1:
            return start + 12 + self.record_length <= table and count == self._chunk_count(start + 8)
        if self.chunk_size == VARIABLE:
            return bool(num_chunks <= count)
        return num_chunks in (-(-count // self.chunk_size), -(-count // self.chunk_size) + 1)

    def _chunk_count(self, start: int) -> int:
        """Points of a layered chunk, which follow its first point."""
        return int(struct.unpack_from("<I", self.data, start + self.record_length)[0])


def frame_points(layout: LasLayout, warnings: list[str]) -> tuple[int, int]:
    """Offset and number of the points.

    They are what the header states if the bytes agree or at least suffice; else the end of the VLRs, or the other
    of two numbers, if the bytes agree with it exactly, which ``warnings`` says. Raises BadCloud if the bytes do
    not hold the points.
    """
    size, length, start = len(layout.data), layout.record_length, layout.stated_start
    in_file = layout.header_size <= start <= size
    counts = layout.stated_counts or _unstated(layout, warnings)
    vlrs_end = layout.vlrs[-1].end if layout.vlrs else layout.header_size
    starts = [start] * in_file + [vlrs_end]
    exact = next(((start, count) for start in starts for count in counts if layout.fits(start, count)), None)
    if exact is None and not in_file:
        raise BadCloud(
            f"The LAS header is incoherent or the file cut off: header of {layout.header_size} bytes, points from byte "
            f"{start}, file of {size} bytes."
        )
    found, count = exact or (start, counts[0] if counts else 0)
    if found != start:
        warnings.append(f"The LAS header places the points at byte {start:,}; they begin at {found:,}.")
    if len(counts) > 1:
        stated = " and ".join(f"{each:,}" for each in counts)
        warnings.append(f"The LAS header states {stated} points; {count:,} were read.")
    held = (size - found) // length
    if not layout.compressed and count > held:
        raise BadCloud(f"The header says {count} points, the file holds {held}: it is cut off or damaged.")
    return found, count


def _unstated(layout: LasLayout, warnings: list[str]) -> list[int]:
    """The number of points of a file that states none, because its writer was stopped: all that uncompressed bytes
    hold."""
    room = len(layout.data) - layout.stated_start
    if layout.compressed or layout.stated_evlrs[1] or room <= 0 or room % layout.record_length:
        return []
    count = room // layout.record_length
    warnings.append(f"The LAS header states 0 points; the {count:,} that follow it were read.")
    return [count]


def table_start(data: memoryview, points_start: int) -> int | None:
    """Offset of the chunk table of compressed points, None if none can be there.

    A writer that could not seek put it into the last 8 bytes of the file.
    """
    if points_start + 16 > len(data):
        return None
    start = struct.unpack_from("<q", data, points_start)[0]
    if start == -1:
        start = struct.unpack_from("<q", data, len(data) - 8)[0]
    return start if points_start + 8 <= start <= len(data) - 8 else None
