"""LAZ of a LAZ with layers: only classification and extra bytes are coded, all other layers are taken over."""

import io
import struct
from itertools import chain

import lazrs
import numpy as np

from app.clouds import laz, laz_chunks
from app.clouds.las_file import LasFile
from app.clouds.las_layout import VARIABLE
from app.clouds.laz_layers import (
    BYTE14,
    CHANNEL_BITS,
    CHANNEL_BYTE,
    CLASS_BYTE,
    POINT14,
    RETURNS_BYTE,
    Item,
    LayeredChunk,
    chunks_from,
)
from app.clouds.rows import by_blocks

CODED_BY = (RETURNS_BYTE, CHANNEL_BYTE, CLASS_BYTE)  # what classification and extra bytes are coded by

LEAST_CHUNK = 1000  # points; a chunk costs more than so many points do


class KeptLayers:
    """The layers of a file whose points get another classification, and further or other extra bytes.

    Attributes:
        changed: places in a record of the extra bytes that get other values.
    """

    def __init__(self, file: LasFile, items: list[Item], chunks: list[LayeredChunk], laszip: bytes):
        self._file, self._items, self._chunks, self._laszip = file, items, chunks, laszip
        self.changed: set[int] = set()

    def records(self) -> np.ndarray:
        """All points, uint8 (num_points, record_length), of which only classification, returns and scanner channel are
        there: the rest is 0. BadCloud as ``laz.decode``."""
        records = laz.decode(self._file, lazrs.SELECTIVE_DECOMPRESS_CLASSIFICATION)

        def clear(block: slice) -> None:
            kept = records[block, CODED_BY]
            records[block] = 0
            records[block, CODED_BY] = kept & (0xFF, CHANNEL_BITS, 0xFF)

        by_blocks(len(records), clear)
        return records

    def laszip(self, record_length: int) -> bytes:
        """The LASzip record for points of ``record_length`` bytes."""
        others = [item for item in self._items if item[0] != BYTE14]
        num_extra = record_length - sum(size for _, size, _ in others)
        items = [*others, *[(BYTE14, num_extra, others[0][2])] * (num_extra > 0)]
        return self._laszip[:32] + struct.pack(f"<{1 + 3 * len(items)}H", len(items), *chain(*items))

    def encode(self, out: io.BytesIO, records: np.ndarray) -> None:
        """Write the chunks and their table at the position of ``out``: points with classification and extra bytes as in
        ``records``, which are those of ``records()`` with changes, and wider perhaps."""
        laszip = self.laszip(records.shape[1])
        vlr = lazrs.LazVlr(laszip)
        packed = memoryview(lazrs.compress_points(vlr, records.reshape(-1), True))
        new = chunks_from(packed, laz_chunks.parse_items(laszip), 8, len(self._chunks))
        parts = [chunk.with_changes(other, self.changed) for chunk, other in zip(self._chunks, new, strict=True)]
        table = [(chunk.num_points, sum(map(len, part))) for chunk, part in zip(self._chunks, parts, strict=True)]
        out.write(struct.pack("<q", out.tell() + 8 + sum(size for _, size in table)))
        out.writelines(chain(*parts))
        lazrs.write_chunk_table(out, table, vlr)


def kept_layers(file: LasFile) -> KeptLayers | None:
    """The layers of ``file``; None if it has none, or of a version that lazrs does not pack, or chunks that are very
    small or of sizes of their own. BadCloud as ``laz.decode``."""
    if not file.compressed or file.num_points == 0:
        return None
    items, table, _, laszip = laz_chunks.chunks_of(file)
    (chunk_size,) = struct.unpack_from("<I", laszip, 12)
    *full, last = (count for count, _ in table)
    usual = laz_chunks.parse_items(laz_chunks.laszip_of(file.point_format, file.record_length))
    if items[0][0] != POINT14 or items != usual:
        return None
    if full and chunk_size < LEAST_CHUNK:
        return None
    if chunk_size == VARIABLE or full != [chunk_size] * len(full) or last > chunk_size:
        return None
    return KeptLayers(file, items, chunks_from(file.data, items, file.points_start + 8, len(table)), laszip)
