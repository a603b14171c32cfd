"""Point data of LAS and LAZ files: raw records in and out, chunks checked before the decoder sees them.

The layout of the LASzip record and of the chunk table follows LASzip's specification (Isenburg, "LASzip: lossless
compression of LiDAR data", and the LAZ specification 1.4). lazrs trusts these numbers: it aborts the process when a
size is absurd and panics on items that it does not know.

Each chunk is the work of one thread. Where there are so few that threads would have nothing to do, layered chunks are
cut in two.
"""

import io
import logging
import struct
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import chain
from operator import or_

import lazrs
import numpy as np

from app.clouds.las_file import LasFile, standard_length
from app.clouds.las_layout import VARIABLE, table_start
from app.clouds.las_records import LASZIP
from app.clouds.laz_layers import (
    CHANNEL_BITS,
    CHANNEL_BYTE,
    LAYERS,
    POINT14,
    POINT_BYTES,
    Item,
    chunk_at,
    chunks_from,
)
from app.clouds.needs import MAX_UNPACKING, UNPACKING_BYTES
from app.clouds.records import column
from app.clouds.rows import by_blocks
from app.errors import BadCloud

POINTWISE, CHUNKED, LAYERED = 1, 2, 3
REWRITE = "LASzip's own program unpacks them: laszip -i old.laz -o new.las; send that, or pack it again."
LASZIP_HEADER = 34
USUAL_CHUNK = 50_000  # points
ALWAYS = ("XY_RETURNS_CHANNEL", "Z", "CLASSIFICATION", "FLAGS", "INTENSITY", "RGB")  # layers by lazrs's names
LAYER_OF = {name: name.upper() for name in ("scan_angle", "user_data", "point_source_id", "gps_time", "nir")}

Chunk = tuple[int, int]  # points, bytes

CHECKED_CHUNKS = 500  # at a time; each is a page or more of the file
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


def parts(file: LasFile, num_points: int, chosen: int = lazrs.SELECTIVE_DECOMPRESS_ALL) -> Iterator[np.ndarray]:
    """All records of ``file`` in its order, as ``decode`` has them, about ``num_points`` at a time: whole chunks, if it
    is compressed."""
    if not file.compressed or not file.num_points:
        records = decode(file)
        for first in range(0, len(records), num_points):
            yield records[first : first + num_points]
            file.give_back()
        return
    _, table, _, record_data = chunks_of(file)
    start, group = file.points_start + 8, list[Chunk]()
    for place, chunk in enumerate(table):
        group.append(chunk)
        if sum(count for count, _ in group) >= num_points or place == len(table) - 1:
            end = start + sum(size for _, size in group)
            records = _unpacked(file.data[start:end], group, record_data, file.record_length, chosen)
            file.give_back()
            yield records
            start, group = end, []


def chunks_of(file: LasFile) -> tuple[list[Item], list[Chunk], int, bytes]:
    """Items of a compressed point, points and bytes of every chunk, the end of the last one, and the LASzip record to
    unpack them by; BadCloud if they are damaged."""
    laszip = file.find(LASZIP)
    if laszip is None:
        raise BadCloud("The header says that the points are compressed, but the LASzip record is missing.")
    items, chunk_size = _items(laszip.data, file)
    return items, *_chunks(file, items, laszip.data, chunk_size)


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

    return front if all(by_blocks(file.num_points, join)) else None


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
    packed = memoryview(lazrs.compress_points(lazrs.LazVlr(laszip), records.reshape(-1), True))
    (table,) = struct.unpack_from("<q", packed)  # as if the points began at 0
    out.write(struct.pack("<q", start + table))
    out.write(packed[8:])


def laszip_of(point_format: int, record_length: int) -> bytes:
    """The LASzip record for new points."""
    num_extra_bytes = record_length - standard_length(point_format)
    return bytes(lazrs.LazVlr.new_for_compression(point_format, num_extra_bytes).record_data())


def parse_items(laszip: bytes) -> list[Item]:
    """The items of a LASzip record."""
    count = struct.unpack_from("<H", laszip, 32)[0]
    if len(laszip) < LASZIP_HEADER + 6 * count:
        raise BadCloud("The LASzip record is shorter than its list of items.")
    return [struct.unpack_from("<HHH", laszip, LASZIP_HEADER + 6 * index) for index in range(count)]


def _items(laszip: bytes, file: LasFile) -> tuple[list[Item], int]:
    """Items and chunk size of the LASzip record, which must describe points of the header's format."""
    if len(laszip) < LASZIP_HEADER:
        raise BadCloud(f"The LASzip record has {len(laszip)} bytes, too few to describe the points.")
    compressor, chunk_size = struct.unpack_from("<H10xI", laszip)
    if compressor == POINTWISE:
        raise BadCloud(
            "The points are compressed with LASzip's first compressor, of before 2011, which few programs still read. "
            f"{REWRITE}"
        )
    if compressor not in (CHUNKED, LAYERED):
        raise BadCloud(
            f"The LASzip record names the compressor {compressor}; known are {CHUNKED} and {LAYERED}. {REWRITE}"
        )
    items = parse_items(laszip)
    expected = parse_items(laszip_of(file.point_format, file.record_length))
    if [item[:2] for item in items] != [item[:2] for item in expected]:
        raise BadCloud(
            f"The LASzip record describes other points than the header, which says format {file.point_format} "
            f"in {file.record_length} bytes."
        )
    if (compressor == LAYERED) != (items[0][0] in LAYERS):
        raise BadCloud(f"The LASzip record is damaged: compressor {compressor} for points of type {items[0][0]}.")
    return items, chunk_size


def _chunks(file: LasFile, items: list[Item], laszip: bytes, chunk_size: int) -> tuple[list[Chunk], int, bytes]:
    """Points and bytes of every chunk, the end of the last one, and the LASzip record to unpack them by.

    A chunk size of 0 says nothing: LASzip takes it for chunks of sizes of their own, as those of COPC are; else they
    have the size that most programs give them, or there is one. Layered chunks state points and bytes themselves, so
    they are found without the table that should list them.
    """
    layered = items[0][0] in LAYERS
    sizes = [chunk_size] if chunk_size else [VARIABLE, USUAL_CHUNK, min(file.num_points, VARIABLE - 1)]
    for size in sizes:
        record = laszip[:12] + struct.pack("<I", size) + laszip[16:]
        try:
            start = _table_start(file)
            table = _chunk_table(file, record, size, start)
            if layered:
                _check_layers(file, items, table)
            return table, start, record
        except BadCloud as problem:
            refused = problem
    found = _walk_layered(file, items) if layered else None
    if found is None:
        raise refused
    file.warnings.append("The table of compressed chunks is missing or wrong; the points were found without it.")
    return (*found, record)


def _table_start(file: LasFile) -> int:
    """Offset of the chunk table."""
    if file.points_start + 8 > len(file.data):
        raise BadCloud("The file is cut off before its first point.")
    start = table_start(file.data, file.points_start)
    if start is None:
        stated = struct.unpack_from("<q", file.data, file.points_start)[0]
        missing = stated + 8 - len(file.data)
        if missing > 0:
            raise BadCloud(
                f"The file is cut off or damaged: the table that ends the {file.num_points:,} compressed points should "
                f"be at byte {stated:,}, but {len(file.data):,} bytes are all there is; at least {missing:,} are "
                "missing. Send the whole file."
            )
        raise BadCloud("The table of compressed chunks is missing: the file is cut off or damaged.")
    return start


def _chunk_table(file: LasFile, laszip: bytes, chunk_size: int, start: int) -> list[Chunk]:
    """Points and bytes of every chunk, which together must be the header's points and fill the bytes exactly."""
    num_chunks = struct.unpack_from("<I", file.data, start + 4)[0]
    held = start - file.points_start - 8
    most = held // file.record_length  # a chunk begins with one point as it is
    if chunk_size != VARIABLE:
        most = min(most, -(-file.num_points // chunk_size))
    if not 0 < num_chunks <= most + 1:  # lazrs may add an empty one
        raise BadCloud(
            f"{file.num_points} points in chunks of {chunk_size} cannot be {num_chunks} chunks in {held} bytes: "
            "the file is cut off or damaged."
        )
    try:
        source = io.BytesIO(file.data[start : start + 64 + 32 * num_chunks])
        table = lazrs.read_chunk_table_only(source, lazrs.LazVlr(laszip))
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # lazrs panics are not Exceptions
        log.info("lazrs could not read a table of %d chunks: %s", num_chunks, error)
        raise BadCloud("The table of compressed chunks is damaged. Send the file again.") from None
    if chunk_size != VARIABLE:
        left = [file.num_points - index * chunk_size for index in range(num_chunks)]
        table = [(min(max(count, 0), chunk_size), size) for count, (_, size) in zip(left, table, strict=True)]
    table = [chunk for chunk in table if chunk != (0, 0)]
    too_small = any(size < file.record_length for _, size in table)
    if too_small or sum(count for count, _ in table) != file.num_points or sum(size for _, size in table) != held:
        raise BadCloud("The chunks of compressed points do not add up to the points and bytes of the file.")
    return table


def _check_layers(file: LasFile, items: list[Item], table: list[Chunk]) -> None:
    """Every layered chunk must be what it says itself: one raw point, a count, layer sizes, layers."""
    start = file.points_start + 8
    for first in range(0, len(table), CHECKED_CHUNKS):
        block = table[first : first + CHECKED_CHUNKS]
        chunks = chunks_from(file.data, items, start, len(block))
        if [(chunk.num_points, len(chunk.raw)) for chunk in chunks] != block:
            raise BadCloud("The layers of a compressed chunk do not add up to its points and size: damaged.")
        start += sum(size for _, size in block)
        file.give_back()


def _walk_layered(file: LasFile, items: list[Item]) -> tuple[list[Chunk], int] | None:
    """The chunks from the first on, by what they say themselves; None unless they are the header's points."""
    start, left, table = file.points_start + 8, file.num_points, []
    while left > 0 and (chunk := chunk_at(file.data, items, start)) and 0 < chunk.num_points <= left:
        table.append((chunk.num_points, len(chunk.raw)))
        start, left = start + len(chunk.raw), left - chunk.num_points
    return (table, start) if left == 0 else None
