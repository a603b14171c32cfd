"""COPC 1.0: LAZ whose chunks are the nodes of an octree, with a table of them, so that parts can be read alone.

After the specification at copc.io: LAS 1.4 of point formats 6 to 8, the record ``copc`` 1 as the first VLR, the table
of nodes as the EVLR ``copc`` 1000.
"""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import lazrs
import numpy as np

from app.clouds import copc_table, las_upgrade, laz, octree
from app.clouds.las_file import LasFile, append_evlrs, head, parse, standard_length
from app.clouds.las_layout import HEADER_1_4
from app.clouds.las_records import COPC_HIERARCHY, COPC_INFO, LASZIP, VLR_HEADER, new_evlr, new_vlr
from app.clouds.octree import Octree
from app.errors import UnsupportedFormat

PART_POINTS = 1 << 20  # gathered at a time, or a node of more
REACH = 1e12  # times scale and offset, which leaves room for sums of coordinates
REORDERED = "COPC has the points in the order of its octree, not in that of the file that came in."


def packed(data: bytes, kept: Octree | None, warnings: list[str]) -> bytes:
    """The uncompressed LAS file ``data`` as a COPC file; what changes goes to ``warnings``.

    Every field, extra dimension, VLR and EVLR is kept, and with the nodes ``kept`` of a COPC file that came in, which
    has as many points, their order. Else that is the one of the octree of ``octree.build``. Takes about
    ``octree.BYTES_A_POINT`` a point beside ``data`` and the result. Raises UnsupportedFormat for points with waveforms,
    and for coordinates that are no numbers any more when a cube is put around them.
    """
    source = parse(memoryview(data))
    records = laz.decode(source)
    raw = [source.column(records, name) for name in "XYZ"]
    target = las_upgrade.upgraded(source, warnings)
    if max(np.abs(source.scale).max(), np.abs(source.offset).max()) > np.finfo(np.float64).max / REACH:
        raise UnsupportedFormat("The scale or offset of the file is too large for COPC: use output=laz.")
    ends = np.array([[axis.min(), axis.max()] for axis in raw]) * source.scale[:, None] + source.offset[:, None]
    target = las_upgrade.with_facts(target, _returns(source, records), ends.min(axis=1), ends.max(axis=1))
    tree = kept or octree.build(raw, source.scale, source.offset)
    if not kept:
        warnings.append(REORDERED)
    times = source.column(records, "gps_time") if "gps_time" in source.fields else np.zeros(1)
    times = times[np.isfinite(times)]
    out = io.BytesIO()
    ends_s = (float(times.min()), float(times.max())) if len(times) else (0.0, 0.0)
    write(out, target, tree, _gathered(source, target, records, tree), ends_s)
    return out.getvalue()


def _returns(file: LasFile, records: np.ndarray) -> np.ndarray:
    """How many points have each of the return numbers from 0 to 15."""
    bits = 0x07 if file.point_format < 6 else 0x0F
    return np.bincount(file.column(records, "bit_fields") & bits, minlength=16)


def _gathered(source: LasFile, target: LasFile, records: np.ndarray, tree: Octree) -> Iterator[list[np.ndarray]]:
    """The points of the nodes, each (n, record_length), some nodes at a time."""
    ends = np.cumsum(tree.counts)
    first = 0
    while first < len(ends):
        start = ends[first] - tree.counts[first]
        last = max(first + 1, int(np.searchsorted(ends, start + PART_POINTS, side="right")))
        rows = slice(start, ends[last - 1]) if tree.order is None else tree.order[start : ends[last - 1]]
        part = las_upgrade.points(source, target, records[rows])
        yield np.split(part, ends[first : last - 1] - start)
        first = last


def write(
    out: BinaryIO, file: LasFile, tree: Octree, parts: Iterator[list[np.ndarray]], ends_s: tuple[float, float]
) -> None:
    """Write a COPC file to the empty ``out``, which can be read too.

    Header, VLRs and EVLRs are those of ``file``, of LAS 1.4 and point format 6 to 8. ``parts`` give the points of the
    nodes of ``tree``, each (n, record_length), some nodes at a time; ``ends_s`` are the least and greatest GPS time.
    """
    num_extra = file.record_length - standard_length(file.point_format)
    vlr = lazrs.LazVlr.new_for_compression(file.point_format, num_extra, True)
    laszip = new_vlr(LASZIP, "https://laszip.org", bytes(vlr.record_data()))
    info = new_vlr(COPC_INFO, "COPC info VLR", bytes(copc_table.INFO.size))
    vlrs = [info, *(each for each in file.vlrs if each.key not in (LASZIP, COPC_INFO)), laszip]
    out.write(head(file, vlrs, file.record_length, compressed=True))
    start = out.tell() + 8
    compressor = lazrs.ParLasZipCompressor(out, vlr)
    for nodes in parts:
        compressor.compress_chunks([node.reshape(-1) for node in nodes])
    compressor.done()
    table = copc_table.made(tree, start, _sizes(out, start, vlr)[: len(tree.keys)])
    evlrs = [each for each in file.evlrs if each.key != COPC_HIERARCHY]
    append_evlrs(out, file, [*evlrs, new_evlr(COPC_HIERARCHY, "COPC hierarchy", table.tobytes())])
    root = out.seek(0, io.SEEK_END) - table.nbytes, table.nbytes
    out.seek(HEADER_1_4 + VLR_HEADER)
    out.write(copc_table.INFO.pack(*tree.center, tree.half, tree.spacing, *root, *ends_s))


def _sizes(out: BinaryIO, start: int, vlr: lazrs.LazVlr) -> np.ndarray:
    """Bytes of every chunk that begins at ``start`` of ``out`` or behind."""
    out.seek(start - 8)
    out.seek(*struct.unpack("<q", out.read(8)))
    table = lazrs.read_chunk_table_only(io.BytesIO(out.read()), vlr)
    return np.array([num_bytes for _, num_bytes in table], np.int64)
