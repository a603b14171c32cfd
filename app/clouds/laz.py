"""Point data of LAS and LAZ files: raw records in and out, of chunks that were checked before the decoder sees them.

Each chunk is the work of one thread. Where there are so few that threads would have nothing to do, layered chunks are
cut in two.
"""

import io
import logging
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import or_
from typing import BinaryIO

import lazrs
import numpy as np

from app.clouds.las_file import LasFile, standard_length
from app.clouds.las_layout import table_start
from app.clouds.laz_chunks import Chunk, chunks_of
from app.clouds.laz_layers import (
    CHANNEL_BITS,
    CHANNEL_BYTE,
    POINT14,
    POINT_BYTES,
    Item,
    chunks_from,
)
from app.clouds.needs import MAX_UNPACKING, UNPACKING_BYTES
from app.clouds.records import column
from app.clouds.rows import LEAST_NUMBERS, by_blocks
from app.errors import BadCloud

ALWAYS = ("XY_RETURNS_CHANNEL", "Z", "CLASSIFICATION", "FLAGS", "INTENSITY", "RGB")  # layers by lazrs's names
LAYER_OF = {name: name.upper() for name in ("scan_angle", "user_data", "point_source_id", "gps_time", "nir")}

LEAST_SHARE = 0.15  # of the bytes of chunks, which layers behind those of every point have if halves are worth while
STARTING_CHUNKS = 4  # of each thread: so many that each gets one

log = logging.getLogger(__name__)


class _Threads:
    """How many threads of lazrs unpack, as far as that is known."""

    count = 1


def layers(fields: Iterable[str], extra_bytes: bool) -> int:
    """The layers of compressed points that hold coordinates, color, intensity, classification, returns and flags, and
    those of ``LAYER_OF``, or extra bytes, that are asked for."""
    chosen = (*ALWAYS, *(LAYER_OF[name] for name in fields), *["ALL_EXTRA_BYTES"] * extra_bytes)
    return reduce(or_, (int(getattr(lazrs, f"SELECTIVE_DECOMPRESS_{name}")) for name in chosen))


def decode(file: LasFile, chosen: int = lazrs.SELECTIVE_DECOMPRESS_ALL) -> np.ndarray:
    """All records of ``file``, uint8 (num_points, record_length); read-only if they lie uncompressed in the file.

    Fields that are in none of the layers ``chosen`` mean nothing, where the file has layers.
    BadCloud if compressed points are damaged, cut off or not to be unpacked; nothing less than all is returned.
    """
    if not file.compressed:
        flat = np.frombuffer(file.data, np.uint8, file.num_points * file.record_length, file.points_start)
        return flat.reshape(file.num_points, file.record_length)
    if file.num_points == 0:
        return np.empty((0, file.record_length), np.uint8)
    items, table, chunks_end, record_data = chunks_of(file)
    records = None
    in_color = chosen & lazrs.SELECTIVE_DECOMPRESS_RGB
    if in_color and items[0][0] == POINT14 and _leaves_idle(len(table)):
        records = _decode_halves(file, items, table, record_data, chosen)
    if records is None:
        chunks = file.data[file.points_start + 8 : chunks_end]
        records = _unpacked(chunks, table, record_data, file.record_length, chosen)
    return records


@dataclass(frozen=True)
class Part:
    """Some records of a file that follow each other: whole chunks, if it is compressed.

    Attributes:
        num_points: of it.
        unpack: gives the records (num_points, record_length), with the layers asked for as ``decode`` has them.
    """

    num_points: int
    unpack: Callable[[int], np.ndarray]


def parts(file: LasFile, num_points: int) -> list[Part]:
    """All records of ``file`` in its order, about ``num_points`` in a part. Pages of the file are given back."""
    if not file.compressed or not file.num_points:
        firsts = range(0, file.num_points, num_points)
        return [_copied(file, first, min(first + num_points, file.num_points)) for first in firsts]
    _, table, _, record_data = chunks_of(file)
    start, found, group = file.points_start + 8, list[Part](), list[Chunk]()
    for place, chunk in enumerate(table):
        group.append(chunk)
        if sum(count for count, _ in group) >= num_points or place == len(table) - 1:
            found.append(_packed(file, start, group, record_data))
            start, group = start + sum(size for _, size in group), []
    return found


def _copied(file: LasFile, first: int, end: int) -> Part:
    def unpack(chosen: int) -> np.ndarray:
        records = decode(file)[first:end].copy()
        file.give_back()
        return records

    return Part(end - first, unpack)


def _packed(file: LasFile, start: int, table: list[Chunk], record_data: bytes) -> Part:
    def unpack(chosen: int) -> np.ndarray:
        chunks = file.data[start : start + sum(size for _, size in table)]
        records = _unpacked(chunks, table, record_data, file.record_length, chosen)
        file.give_back()
        return records

    return Part(sum(count for count, _ in table), unpack)


def _unpacked(
    chunks: memoryview | bytes, table: list[Chunk], record_data: bytes, record_length: int, chosen: int
) -> np.ndarray:
    """The records (num_points, record_length) of ``chunks``, each by one thread; BadCloud if they are damaged."""
    records = np.empty((sum(count for count, _ in table), record_length), np.uint8)
    try:
        selection = lazrs.DecompressionSelection(chosen)
        lazrs.decompress_points_with_chunk_table(chunks, record_data, records.reshape(-1), table, selection)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # lazrs panics are not Exceptions
        log.info("lazrs could not unpack %d points: %s", len(records), error)
        raise BadCloud("The compressed points are damaged: they cannot be unpacked. Send the file again.") from None
    return records


def _decode_halves(
    file: LasFile, items: list[Item], table: list[Chunk], record_data: bytes, chosen: int
) -> np.ndarray | None:
    """All records, by two threads a chunk; None if that saves little, there are several scanner channels, or the points
    are damaged."""
    chunks = chunks_from(file.data, items, file.points_start + 8, len(table))
    extra_bytes = bool(chosen & lazrs.SELECTIVE_DECOMPRESS_ALL_EXTRA_BYTES)
    if sum(chunk.bytes_behind(extra_bytes) for chunk in chunks) < LEAST_SHARE * sum(size for _, size in table):
        return None
    fronts, backs = zip(*(chunk.halves() for chunk in chunks), strict=True)
    parts = [*fronts, *backs]
    counts = [count for count, _ in table] * 2
    both = [(count, sum(map(len, part))) for count, part in zip(counts, parts, strict=True)]
    try:
        records = _unpacked(b"".join(chain(*parts)), both, record_data, file.record_length, chosen)
    except BadCloud:  # what was coded by another channel than is supposed seems damaged
        return None
    front, back = np.split(records, 2)
    channels = column(front, CHANNEL_BYTE, "u1")
    behind = f"V{file.record_length - POINT_BYTES}"

    def join(block: slice) -> bool:
        column(front, POINT_BYTES, behind)[block] = column(back, POINT_BYTES, behind)[block]
        return not np.bitwise_and(channels[block] ^ channels[0], CHANNEL_BITS).any()

    return front if all(by_blocks(file.num_points, join, least_rows=LEAST_NUMBERS)) else None


def _leaves_idle(num_chunks: int) -> bool:
    """Whether half of the threads or more have nothing to do in the last of one or two rounds."""
    return num_chunks < 2 * _Threads.count and 0 < num_chunks % _Threads.count <= _Threads.count // 2


def decoding_bytes(file: LasFile) -> int:
    """What ``decode`` takes at most, with its result."""
    if not file.compressed:
        return 0
    start = table_start(file.data, file.points_start)
    stated = struct.unpack_from("<I", file.data, start + 4)[0] if start is not None else 1
    num_chunks = min(int(stated), file.num_points)
    held, unpacking = file.num_points * file.record_length, UNPACKING_BYTES * min(MAX_UNPACKING, num_chunks)
    if file.point_format < 6 or not _leaves_idle(num_chunks):
        return held + unpacking
    return 2 * (held + unpacking) + len(file.data)


def start_threads(num_threads: int) -> None:
    """Start lazrs's threads, RAYON_NUM_THREADS of them, so that they take no address space later.

    Each has its arena of malloc then, since it has worked or at least begun to run.
    """
    _Threads.count = num_threads
    vlr = lazrs.LazVlr.new_for_compression(0, 0)
    point = np.zeros(standard_length(0), np.uint8)
    chunk = bytes(lazrs.compress_points(vlr, point, False))[8:]
    count = STARTING_CHUNKS * num_threads
    points = np.empty(count * len(point), np.uint8)
    table = [(1, len(chunk))] * count
    lazrs.decompress_points_with_chunk_table(chunk * count, bytes(vlr.record_data()), points, table)


def encode(out: io.BytesIO, laszip: bytes, records: np.ndarray) -> None:
    """Write the chunks of ``records`` and their table at the position of ``out``, as the LASzip record says."""
    start = out.tell()
    packed, table = _compressed(laszip, records)
    out.write(struct.pack("<q", start + table))
    out.write(packed[8:])


def encode_parts(out: BinaryIO, laszip: bytes, parts: Iterable[tuple[memoryview, list[Chunk]]]) -> None:
    """Write chunks that ``packed`` made, and their table, as ``encode`` does."""
    start = out.tell()
    out.write(bytes(8))
    table: list[Chunk] = []
    for chunks, added in parts:
        out.write(chunks)
        table += added
    end = out.tell()
    lazrs.write_chunk_table(out, table, lazrs.LazVlr(laszip))
    out.seek(start)
    out.write(struct.pack("<q", end))


def packed(laszip: bytes, records: np.ndarray) -> tuple[memoryview, list[Chunk]]:
    """Chunks of ``records``, and points and bytes of each."""
    packed, table = _compressed(laszip, records)
    sizes = lazrs.read_chunk_table_only(io.BytesIO(packed[table:]), lazrs.LazVlr(laszip))
    (most,) = struct.unpack_from("<I", laszip, 12)
    counts = [min(most, len(records) - first) for first in range(0, len(records), most)]
    return packed[8:table], [(count, size) for count, (_, size) in zip(counts, sizes, strict=True)]


def _compressed(laszip: bytes, records: np.ndarray) -> tuple[memoryview, int]:
    """What the compressor makes of ``records``, as if the points began at 0, and where the table of chunks is."""
    packed = memoryview(lazrs.compress_points(lazrs.LazVlr(laszip), records.reshape(-1), True))
    (table,) = struct.unpack_from("<q", packed)
    return packed, table
