"""LAS files of some of the records of another LAS or LAZ file."""

import mmap
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.clouds.cloud import Bounds
from app.clouds.las_file import LasFile, head, parse
from app.clouds.las_records import COPC_HIERARCHY, COPC_INFO, EVLR_HEADER, LASZIP, Record, new_vlr
from app.clouds.records import column
from app.survey import files
from app.survey.tile import Tile

MAX_VLR_BYTES = 0xFFFF
WAVEFORMS = ("LASF_Spec", 65535)


class PieceFile:
    """A LAS file with header and further records of another one, whose points are written where they belong.

    Attributes:
        path: of it; there is no file before the first points are written.
        num_points: as many as it has in the end.
    """

    def __init__(self, path: Path, like: LasFile, num_points: int = 0):
        self.path = path
        self.num_points = num_points
        self._like = like
        self._has_head = False

    def write(self, records: np.ndarray, places: list[tuple[int, slice]]) -> None:
        """Write each slice of ``records`` (N, record_length) at its place, the number of a point in the file."""
        written = self._head()
        length = self._like.record_length
        with self.path.open("r+b" if self._has_head else "wb", buffering=0) as file:
            if not self._has_head:
                _write_all(file.fileno(), memoryview(written), 0)
                self._has_head = True
            for place, rows in places:
                data = records[rows].reshape(-1).data
                _write_all(file.fileno(), data, len(written) + place * length)

    def append(self, records: np.ndarray) -> None:
        """Write ``records`` behind those that are there, and have the header count them."""
        self.write(np.ascontiguousarray(records), [(self.num_points, slice(None))])
        self.num_points += len(records)
        with self.path.open("r+b") as file:
            file.write(self._head())

    def read(self, first: int, num_points: int) -> np.ndarray:
        """The ``num_points`` records from the number ``first`` on, uint8 (N, record_length)."""
        length = self._like.record_length
        with self.path.open("rb") as file:
            file.seek(len(self._head()) + first * length)
            return np.fromfile(file, np.uint8, num_points * length).reshape(-1, length)

    def tile(self, whole: Tile, number: int, bounds: Bounds) -> Tile:
        """The file as the piece ``number`` of the tile ``whole``, which covers ``bounds``."""
        stat = files.stat(str(self.path))
        return replace(
            whole,
            name=f"{whole.name} ({number})",
            path=str(self.path),
            format="las",
            num_bytes=stat.num_bytes,
            version=stat.version,
            num_points=self.num_points,
            bounds=bounds,
        )

    def _head(self) -> bytes:
        like = replace(self._like, num_points=self.num_points)
        kept = [vlr for vlr in like.vlrs if vlr.key not in (LASZIP, COPC_INFO)]
        kept += [new_vlr(evlr.key, "", evlr.data) for evlr in like.evlrs if fits(evlr)]
        written = bytearray(head(like, kept, like.record_length, compressed=False))
        if like.minor >= 4:
            struct.pack_into("<QI", written, 235, 0, 0)
        if like.minor >= 3:
            struct.pack_into("<Q", written, 227, 0)
        return bytes(written)


def fits(evlr: Record) -> bool:
    """Whether the files of pieces have ``evlr``, as a VLR: all that describe points are that small."""
    return evlr.key not in (COPC_HIERARCHY, WAVEFORMS) and len(evlr.raw) - EVLR_HEADER <= MAX_VLR_BYTES


def horizontal(file: LasFile, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 (N,) and (N,), x and y of ``records`` in the units of their ``file``."""
    x, y = (column(records, 4 * axis, "<i4") * file.scale[axis] + file.offset[axis] for axis in (0, 1))
    return x, y


def opened(path: str) -> LasFile:
    """The file, mapped as long as somebody holds it."""
    mapped = _mapped(path)
    return replace(parse(memoryview(mapped)), give_back=lambda: mapped.madvise(mmap.MADV_DONTNEED))


def head_of(path: str) -> LasFile:
    """An uncompressed file as its header describes it; nothing of it stays mapped."""
    found = parse(memoryview(_mapped(path)))
    vlrs = [replace(vlr, raw=bytes(vlr.raw)) for vlr in found.vlrs]
    scale, offset = found.scale.copy(), found.offset.copy()
    return replace(found, data=memoryview(b""), vlrs=vlrs, evlrs=[], scale=scale, offset=offset)


def _mapped(path: str) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while len(data):
        num_bytes = os.pwrite(descriptor, data, offset)
        data, offset = data[num_bytes:], offset + num_bytes
