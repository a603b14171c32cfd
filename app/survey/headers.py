"""Tiles by the headers of their files: of LAS, LAZ and COPC all that a plan needs, from a few reads of each file."""

import math
import mmap
import os
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache, partial

from app.clouds import formats, las_crs
from app.clouds.catalog import FORMATS, READERS, by_suffix
from app.clouds.cloud import Bounds
from app.clouds.crs import MAX_CHARS, BadCrs, short, units_of
from app.clouds.georeference import metres_per_radian, stated_or_asked
from app.clouds.las_file import LasFile, parse
from app.clouds.las_layout import HEADER_1_4, MIN_HEADER
from app.clouds.las_records import EVLR_HEADER, Record
from app.clouds.units import Units, differ
from app.errors import BadCloud, Problem
from app.options import Options
from app.survey import ahead, files, remote
from app.survey.tile import Source, Stat, Tile

HEAD_BYTES = 1 << 16
MAX_RECORDS_BYTES = 8 << 20  # before the points
MAX_EVLRS = 16  # whose headers are looked at
MAX_COORDINATE = 1e12
LAS_FORMATS = ("las", "laz")
PLAIN = Options()
COUNTED = ("ply", "pcd", "npy", "npz")  # whose headers tell the number of points


def tiles(sources: Iterable[Source], options: Options = PLAIN) -> Iterator[Tile]:
    """The tile of every source, in their order; one whose header cannot be read has an ``error``."""
    return ahead.each(partial(tile_of, options=options), sources)


def tile_of(source: Source, options: Options = PLAIN) -> Tile:
    """The tile of ``source`` by its header, and by what ``options`` say of its coordinates; with an ``error`` if that
    cannot be read."""
    format, stat = by_name(source.path), source.known
    try:
        if source.error:
            raise BadCloud(source.error)
        head, stat = files.piece(source.path, 0, HEAD_BYTES, stat)
        if not stat.num_bytes:
            raise BadCloud("The file is empty (0 bytes).")
        format = next((name for name in READERS if FORMATS[name].shows_in(head)), format)
        tile = Tile(source.name, source.path, format, stat.num_bytes, stat.version, is_context=source.is_context)
        if format in LAS_FORMATS:
            return described(tile, las_header(source.path, stat, head), options)
        if format in COUNTED and not remote.scheme(source.path):
            return replace(tile, num_points=_counted(source.path))
        return tile
    except Problem as problem:
        about = (stat.num_bytes, stat.version) if stat else (0, "")
        return Tile(source.name, source.path, format, *about, is_context=source.is_context, error=problem.detail)


def by_name(path: str) -> str:
    """The format that the name of a file shows, '' if none."""
    name = remote.shown(path).rpartition("/")[2].lower()
    return next(filter(None, (by_suffix(name[dot.start() :]) for dot in re.finditer(r"\.", name))), "")


def las_file(tile: Tile) -> LasFile:
    """The file of a ``tile``, LAS, LAZ or COPC, as ``las_header`` gives it; a Problem if it is gone or has changed."""
    head, stat = files.piece(tile.path, 0, HEAD_BYTES, Stat(tile.num_bytes, tile.version))
    files.check_version(tile, stat)
    return las_header(tile.path, stat, head)


def las_header(path: str, stat: Stat, head: bytes) -> LasFile:
    """A LAS file without its points, which are zeros; ``head`` are its first bytes. A Problem if it is none.

    Read are header, VLRs, and of EVLRs those that may state the coordinate system. So a number of points that
    contradicts the compressed ones does not show here.
    """
    sparse = os.memfd_create("pointserve-header", os.MFD_CLOEXEC)
    try:
        os.ftruncate(sparse, stat.num_bytes)
        os.pwrite(sparse, head, 0)
        if len(head) >= MIN_HEADER:
            start = struct.unpack_from("<I", head, 96)[0]
            if len(head) < start <= min(MAX_RECORDS_BYTES, stat.num_bytes):
                os.pwrite(sparse, files.piece(path, len(head), start, stat)[0], len(head))
            _copy_systems(path, stat, head, sparse)
        data = memoryview(mmap.mmap(sparse, stat.num_bytes, prot=mmap.PROT_READ))
    except (OSError, OverflowError) as error:
        raise BadCloud(f"The header cannot be mapped: {error}.") from None
    finally:
        os.close(sparse)
    return parse(data)


def _copy_systems(path: str, stat: Stat, head: bytes, sparse: int) -> None:
    """Copy into ``sparse`` the headers of EVLRs, and those whole that state a coordinate system."""
    if head[25] < 4 or len(head) < HEADER_1_4:
        return
    start, count = struct.unpack_from("<QI", head, 235)
    for _ in range(min(count, MAX_EVLRS)):
        if start < HEADER_1_4 or start + EVLR_HEADER > stat.num_bytes:
            return
        record = files.piece(path, start, start + EVLR_HEADER, stat)[0]
        length = struct.unpack_from("<Q", record, 20)[0]
        if Record(record, EVLR_HEADER).key in las_crs.SYSTEMS and length <= MAX_CHARS:
            record = files.piece(path, start, start + EVLR_HEADER + length, stat)[0]
        os.pwrite(sparse, record, start)
        start += EVLR_HEADER + length


def described(tile: Tile, file: LasFile, options: Options = PLAIN) -> Tile:
    """``tile`` with what the header of its ``file`` says, and ``options`` of its coordinates."""
    bounds = _bounds(file) if file.num_points else None
    crs, units = _asked(*_system(_SystemRecords(file)), options.crs, options.units)
    return replace(tile, num_points=file.num_points, bounds=bounds, crs=crs, metres_per_unit=_metres(units, bounds))


def _bounds(file: LasFile) -> Bounds | None:
    """Those that the header states, None if no points can be within them."""
    numbers = struct.unpack_from("<6d", file.header, 179)
    least, greatest = numbers[1::2], numbers[0::2]
    fine = all(abs(number) <= MAX_COORDINATE for number in numbers)
    if not fine or not all(low <= high for low, high in zip(least, greatest, strict=True)):
        return None
    return (*least, *greatest)


class _SystemRecords:
    """The records of a file that state its coordinate system: equal ones are the key of a cache."""

    def __init__(self, file: LasFile):
        self.file: LasFile | None = file
        records = [record for key in las_crs.SYSTEMS for record in file.find_all(key)]
        self._key = (
            file.header[6] & las_crs.WKT_BIT,
            *(bytes(each.raw) for each in records if len(each.raw) <= MAX_CHARS),
        )

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SystemRecords) and self._key == other._key


@lru_cache(maxsize=256)
def _system(records: _SystemRecords) -> tuple[str, Units | None]:
    """The coordinate system of a file, '' if it contradicts the units that the file states, and these."""
    file, records.file = records.file, None  # the cache keeps the records, not the file
    assert file is not None
    units = las_crs.units(file)
    text = las_crs.system(file)
    if not text or units is None:
        return "", units
    try:
        return ("" if differ(units_of(text), units) else sys.intern(short(text))), units
    except BadCrs:
        return "", units


@lru_cache(maxsize=256)
def _asked(crs: str, stated: Units | None, asked_crs: str, asked_units: str) -> tuple[str, Units | None]:
    """Coordinate system and units, with what is asked for in place of what a file states."""
    units = stated_or_asked(stated, asked_crs, asked_units)
    if asked_crs:
        crs = sys.intern(short(asked_crs))
    elif stated and units and differ(stated, units):
        crs = ""
    return crs, units


def _metres(units: Units | None, bounds: Bounds | None) -> tuple[float, float] | None:
    """Of a unit of x and y, and of z; of a degree along the parallel, where it is shorter, if the bounds tell."""
    if units is None:
        return None
    if not units.x.radians:
        return units.x.metres, units.z.metres
    latitude = 0.5 * (bounds[1] + bounds[4]) * units.y.radians if bounds else math.inf
    if abs(latitude) > math.pi / 2:
        return None
    return metres_per_radian(latitude)[0] * units.x.radians, units.z.metres


def _counted(path: str) -> int | None:
    """Points of a local file, as far as its header tells."""
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        needs = formats.reading_needs(data, filename=os.path.basename(path))
    return needs.num_points if needs.is_exact and needs.num_points else None
