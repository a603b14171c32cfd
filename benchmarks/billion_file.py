"""The file of ``benchmarks.billion``, and what its answer must be."""

import math
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import lazrs
import numpy as np

from app.clouds import laz, laz_chunks
from app.clouds.las_file import LasFile, head, parse
from app.clouds.las_records import LASZIP, new_vlr
from app.clouds.records import column
from app.sample.tile import las_bytes, make_tile
from app.survey.piece_file import opened
from app.survey.pieces import in_threads
from tests.survey.survey_files import moved

Item = TypeVar("Item")
KINDS = ("town", "village")
PLACE = lazrs.SELECTIVE_DECOMPRESS_XY_RETURNS_CHANNEL | lazrs.SELECTIVE_DECOMPRESS_Z
AROUND_M = 128.0  # models see no farther
PART_POINTS = 1 << 18
CLASS_BYTE = 16  # of a record of point format 6
RETURNS = "<15Q"  # at byte 255 of the header


@dataclass(frozen=True)
class Tile:
    """A made-up LAZ tile of point format 6."""

    data: bytes

    @cached_property
    def file(self) -> LasFile:
        """As it is parsed."""
        return parse(memoryview(self.data))

    @cached_property
    def chunks(self) -> list[laz_chunks.Chunk]:
        """Points and bytes of each."""
        return laz_chunks.chunks_of(self.file)[1]

    def at(self, x: int, y: int) -> bytes:
        """Its chunks, ``x`` and ``y`` units of coordinates further: those of the first point of each stand there as
        they are, all others as differences."""
        start = self.file.points_start + 8
        moved = bytearray(self.file.data[start : start + sum(size for _, size in self.chunks)])
        place = 0
        for _, size in self.chunks:
            first = struct.unpack_from("<2i", moved, place)
            struct.pack_into("<2i", moved, place, first[0] + x, first[1] + y)
            place += size
        return bytes(moved)


@dataclass(frozen=True)
class BigFile:
    """One LAZ file of ``count`` places, row by row, with the ``tiles`` in turn."""

    path: Path
    tiles: list[Tile]
    count: int
    size_m: float

    @property
    def width(self) -> int:
        """Places in a row."""
        return max(1, round(self.count**0.5))

    @property
    def num_points(self) -> int:
        """Of all."""
        return sum(self.tile(place).file.num_points for place in range(self.count))

    def tile(self, place: int) -> Tile:
        """The one that is there."""
        return self.tiles[place % len(self.tiles)]

    def corner_m(self, place: int) -> tuple[float, float]:
        """How far a place is from the first one."""
        row, column = divmod(place, self.width)
        return column * self.size_m, row * self.size_m

    def corner_units(self, place: int) -> tuple[int, int]:
        """The same in units of coordinates."""
        x, y = (round(metres / self.tiles[0].file.scale[0]) for metres in self.corner_m(place))
        return x, y

    def alone(self, place: int) -> bytes:
        """The tile at a place as a file of its own."""
        return moved(self.tile(place).data, *self.corner_m(place))

    @property
    def ends(self) -> list[int]:
        """Places that together lie in the box of the whole file, as far as tiles and their heights go."""
        return [
            *range(min(len(self.tiles), self.count)),
            self.width - 1,
            self.count - 1,
            (self.count - 1) // self.width * self.width,
        ]

    def around(self, place: int) -> list[int]:
        """The places around a place that its labels may depend on."""
        row, column = divmod(place, self.width)
        reach = math.ceil(AROUND_M / self.size_m)
        places = [
            y * self.width + x
            for y in range(row - reach, row + reach + 1)
            for x in range(column - reach, column + reach + 1)
            if y >= 0 and 0 <= x < self.width
        ]
        return [each for each in places if each != place and each < self.count]

    def rows(self, place: int) -> slice:
        """The points of a place."""
        first = sum(self.tile(before).file.num_points for before in range(place))
        return slice(first, first + self.tile(place).file.num_points)

    def write(self) -> None:
        """Write the file."""
        like = self.tiles[0].file
        laszip = lazrs.LazVlr.new_for_compression(like.point_format, 0, True)
        record = new_vlr(LASZIP, "https://laszip.org", bytes(laszip.record_data()))
        vlrs = [record if vlr.key == LASZIP else vlr for vlr in like.vlrs]
        header = bytearray(head(like, vlrs, like.record_length, compressed=True))
        struct.pack_into("<Q", header, 247, self.num_points)
        ends, returns = [], np.zeros(15, np.int64)
        for place in range(self.count):
            file = self.tile(place).file
            returns += struct.unpack_from(RETURNS, file.header, 255)
            box = np.array(struct.unpack_from("<6d", file.header, 179)).reshape(3, 2)  # greatest, least
            ends.append(box + np.array([*self.corner_m(place), 0.0])[:, None])
        struct.pack_into(RETURNS, header, 255, *returns.tolist())
        box = np.array([np.max(ends, 0)[:, 0], np.min(ends, 0)[:, 1]]).T
        struct.pack_into("<6d", header, 179, *box.reshape(-1).tolist())
        table: list[laz_chunks.Chunk] = []
        with self.path.open("wb") as out:
            out.write(header)
            out.write(bytes(8))
            for place in range(self.count):
                out.write(self.tile(place).at(*self.corner_units(place)))
                table += self.tile(place).chunks
            end = out.tell()
            lazrs.write_chunk_table(out, table, laszip)
            out.seek(len(header))
            out.write(struct.pack("<q", end))


def made(
    path: Path, num_points: int, tile_points: int, num_tiles: int, density: float, pool: ProcessPoolExecutor
) -> BigFile:
    """Write a file of at least ``num_points``, of ``num_tiles`` tiles of about ``tile_points``."""
    size_m = round((tile_points / density) ** 0.5)
    tiles = [Tile(data) for data in pool.map(_tile, range(num_tiles), [size_m] * num_tiles, [density] * num_tiles)]
    counts = [tile.file.num_points for tile in tiles]
    rounds, left = divmod(num_points, sum(counts))
    count = int(rounds * num_tiles + np.searchsorted(np.cumsum(counts), left) + (left > 0))
    file = BigFile(path, tiles, count, size_m)
    file.write()
    return file


def _tile(seed: int, size_m: float, density: float) -> bytes:
    return las_bytes(make_tile(KINDS[seed % len(KINDS)], seed, size_m, density))


Digest = tuple[int, int]
"""Number of points, and a sum over their coordinates that changes with each of them and with their order."""


def digest(path: Path) -> Digest:
    """That of the points of a LAZ file, read a part at a time by all cores."""
    file = opened(str(path))
    parts = laz.parts(file, PART_POINTS)

    def of(numbered: tuple[int, laz.Part]) -> int:
        first, part = numbered
        return _sum(first, part.unpack(PLACE), 0, 0)

    return _digest(of, parts, [part.num_points for part in parts])


def expected_digest(file: BigFile) -> Digest:
    """What ``digest`` must find, by the tiles that the file was made of."""
    places = range(file.count)
    records = [laz.decode(tile.file)[:, :12].copy() for tile in file.tiles]

    def of(numbered: tuple[int, int]) -> int:
        first, place = numbered
        return _sum(first, records[place % len(records)], *file.corner_units(place))

    return _digest(of, places, [file.tile(place).file.num_points for place in places])


def _digest(of: Callable[[tuple[int, Item]], int], items: Iterable[Item], counts: list[int]) -> Digest:
    firsts = np.cumsum([0, *counts]).tolist()
    return firsts[-1], sum(in_threads(of, zip(firsts, items, strict=False))) % (1 << 64)


def _sum(first: int, records: np.ndarray, x: int, y: int) -> int:
    """Of ``records``, of which the file has the number ``first`` and those that follow, moved by ``x`` and ``y``."""
    mixed = np.arange(first, first + len(records), dtype=np.uint64)
    for axis, moved_by in enumerate((x, y, 0)):
        mixed = _mixed(mixed ^ (column(records, 4 * axis, "<i4") + np.int32(moved_by)).view(np.uint32))
    return int(mixed.sum(dtype=np.uint64))


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): any change of a bit changes about half of all."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def records_of(path: Path, rows: slice) -> np.ndarray:
    """The records ``rows`` of a LAZ file."""
    found, first = [], 0
    for part in laz.parts(opened(str(path)), PART_POINTS):
        if first < rows.stop and first + part.num_points > rows.start:
            records = part.unpack(lazrs.SELECTIVE_DECOMPRESS_ALL)
            found.append(records[max(0, rows.start - first) : rows.stop - first])
        first += part.num_points
    return np.concatenate(found)
