"""Point data of LAS and LAZ files: raw records in and out, chunks checked before the decoder sees them.

The layout of the LASzip record, of the chunk table and of layered chunks follows LASzip's specification (Isenburg,
"LASzip: lossless compression of LiDAR data", and the LAZ specification 1.4). lazrs trusts these numbers: it aborts
the process when a size is absurd and panics on items that it does not know.
"""

import io
import struct

import lazrs
import numpy as np

from app.clouds.las_file import LASZIP, LasFile, Record, check_reaches, new_vlr, standard_length
from app.errors import BadCloud

CHUNKED = 2
LAYERED = 3
VARIABLE = 0xFFFFFFFF
LASZIP_HEADER = 34
LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}  # of items POINT14, RGB14, RGBNIR14, WAVEPACKET14; BYTE14 has one a byte
BYTE14 = 14

Item = tuple[int, int, int]  # type, bytes, version


def decode(file: LasFile) -> np.ndarray:
    """All records of ``file``, uint8 (num_points, record_length); read-only where they lie uncompressed in the file."""
    if not file.compressed:
        flat = np.frombuffer(file.data, np.uint8, file.num_points * file.record_length, file.points_start)
        return flat.reshape(file.num_points, file.record_length)
    if file.num_points == 0:
        return np.empty((0, file.record_length), np.uint8)
    laszip = file.find(LASZIP)
    if laszip is None:
        raise BadCloud("The header says that the points are compressed, but the LASzip record is missing.")
    items, chunk_size = _items(laszip.data, file)
    chunks_start = file.points_start + 8
    table_start = _table_start(file)
    table = _chunk_table(file, laszip.data, chunk_size, table_start)
    if items[0][0] in LAYERS:
        _check_layers(file, items, table)
    records = np.empty(file.num_points * file.record_length, np.uint8)
    try:
        lazrs.decompress_points_with_chunk_table(file.data[chunks_start:table_start], laszip.data, records, table)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # lazrs panics are not Exceptions
        raise BadCloud(f"The compressed points cannot be unpacked: {error}") from None
    return records.reshape(file.num_points, file.record_length)


def encode(out: io.BytesIO, vlr: "lazrs.LazVlr", records: np.ndarray) -> None:
    """Write the chunks of ``records`` and their table where ``out`` stands."""
    compressor = lazrs.ParLasZipCompressor(out, vlr)
    compressor.compress_many(records.reshape(-1))
    compressor.done()


def laszip_record(point_format: int, num_extra_bytes: int) -> tuple["lazrs.LazVlr", Record]:
    """What the compressor needs, and the VLR that tells of it."""
    vlr = lazrs.LazVlr.new_for_compression(point_format, num_extra_bytes)
    return vlr, new_vlr(LASZIP, "https://laszip.org", bytes(vlr.record_data()))


def _parse_items(laszip: bytes) -> list[Item]:
    count = struct.unpack_from("<H", laszip, 32)[0]
    if len(laszip) < LASZIP_HEADER + 6 * count:
        raise BadCloud("The LASzip record is shorter than its list of items.")
    return [struct.unpack_from("<HHH", laszip, LASZIP_HEADER + 6 * index) for index in range(count)]


def _items(laszip: bytes, file: LasFile) -> tuple[list[Item], int]:
    """Items and chunk size of the LASzip record, which must describe points of the header's format."""
    if len(laszip) < LASZIP_HEADER:
        raise BadCloud(f"The LASzip record has {len(laszip)} bytes, too few to describe the points.")
    compressor, chunk_size = struct.unpack_from("<H10xI", laszip)
    if compressor not in (CHUNKED, LAYERED):
        raise BadCloud(
            f"The points are compressed with LASzip's compressor {compressor}, from before 2011; "
            "write the file anew with a current laszip."
        )
    items = _parse_items(laszip)
    num_extra_bytes = file.record_length - standard_length(file.point_format)
    expected = lazrs.LazVlr.new_for_compression(file.point_format, num_extra_bytes).record_data()
    if [item[:2] for item in items] != [item[:2] for item in _parse_items(bytes(expected))]:
        raise BadCloud(
            f"The LASzip record describes other points than the header, which says format {file.point_format} "
            f"in {file.record_length} bytes."
        )
    if chunk_size == 0 or (compressor == LAYERED) != (items[0][0] in LAYERS):
        raise BadCloud(f"The LASzip record is damaged: compressor {compressor}, chunks of {chunk_size} points.")
    return items, chunk_size


def _table_start(file: LasFile) -> int:
    """Offset of the chunk table, which a writer that could not seek put into the last 8 bytes of the file."""
    if file.points_start + 8 > len(file.data):
        raise BadCloud("The file is cut off before its first point.")
    start = struct.unpack_from("<q", file.data, file.points_start)[0]
    if start == -1:
        start = struct.unpack_from("<q", file.data, len(file.data) - 8)[0]
    else:
        check_reaches(file.data, start, 8, f"the table that ends the {file.num_points:,} compressed points")
    if not file.points_start + 8 <= start <= len(file.data) - 8:
        raise BadCloud("The table of compressed chunks is missing: the file is cut off or damaged.")
    return start


def _chunk_table(file: LasFile, laszip: bytes, chunk_size: int, start: int) -> list[tuple[int, int]]:
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
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # lazrs panics are not Exceptions
        raise BadCloud(f"The table of compressed chunks is damaged: {error}") from None
    if chunk_size != VARIABLE:
        left = [file.num_points - index * chunk_size for index in range(num_chunks)]
        table = [(min(max(count, 0), chunk_size), size) for count, (_, size) in zip(left, table, strict=True)]
    table = [chunk for chunk in table if chunk != (0, 0)]
    too_small = any(size < file.record_length for _, size in table)
    if too_small or sum(count for count, _ in table) != file.num_points or sum(size for _, size in table) != held:
        raise BadCloud("The chunks of compressed points do not add up to the points and bytes of the file.")
    return table


def _check_layers(file: LasFile, items: list[Item], table: list[tuple[int, int]]) -> None:
    """Every layered chunk must state layers that fill it: one raw point, a count, layer sizes, layers."""
    num_layers = sum(size if kind == BYTE14 else LAYERS[kind] for kind, size, _ in items)
    chunk_bytes = np.array([size for _, size in table], np.int64)
    sizes_end = file.record_length + 4 + 4 * num_layers
    raw = np.frombuffer(file.data, np.uint8)
    sizes_start = file.points_start + 8 + np.cumsum(chunk_bytes) - chunk_bytes + file.record_length + 4
    total = np.full(len(table), sizes_end, np.int64)
    if (chunk_bytes < sizes_end).any():
        raise BadCloud("A compressed chunk is shorter than its own header: the file is damaged.")
    for layer in range(num_layers):
        where = sizes_start[:, None] + 4 * layer + np.arange(4)
        total += raw[where].view("<u4")[:, 0]
    if (total != chunk_bytes).any():
        raise BadCloud("The layers of a compressed chunk do not add up to its size: the file is damaged.")
