"""The LASzip record of a LAZ file and its table of chunks, checked before the decoder sees them.

Their layout follows LASzip's specification (Isenburg, "LASzip: lossless compression of LiDAR data", and the LAZ
specification 1.4). lazrs trusts these numbers: it aborts the process when a size is absurd and panics on items that it
does not know.
"""

import io
import logging
import struct

import lazrs

from app.clouds.las_file import LasFile, standard_length
from app.clouds.las_layout import VARIABLE, table_start
from app.clouds.las_records import LASZIP
from app.clouds.laz_layers import LAYERS, Item, chunk_at, chunks_from
from app.errors import BadCloud

POINTWISE, CHUNKED, LAYERED = 1, 2, 3
REWRITE = "LASzip's own program unpacks them: laszip -i old.laz -o new.las; send that, or pack it again."
LASZIP_HEADER = 34
USUAL_CHUNK = 50_000  # points
CHECKED_CHUNKS = 500  # at a time; each is a page or more of the file

Chunk = tuple[int, int]  # points, bytes

log = logging.getLogger(__name__)


def chunks_of(file: LasFile) -> tuple[list[Item], list[Chunk], int, bytes]:
    """Items of a compressed point, points and bytes of every chunk, the end of the last one, and the LASzip record to
    unpack them by; BadCloud if they are damaged."""
    laszip = file.find(LASZIP)
    if laszip is None:
        raise BadCloud("The header says that the points are compressed, but the LASzip record is missing.")
    items, chunk_size = _items(laszip.data, file)
    return items, *_chunks(file, items, laszip.data, chunk_size)


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
