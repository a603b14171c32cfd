"""A LAS, LAZ or COPC file that is larger than memory: cut into files of its pieces, whose answers are put together.

``cut`` goes through the file twice, about a million points at a time: to count where points lie, and to put each into
the file of its piece, and into those of the pieces whose context it is. ``join`` takes the records of the answers in
the order in which the points came. LAZ is in no order of places in general, and chunks of COPC come in that of its
octree, so all are read alike. On disk that takes two bytes a point, and its record for its piece, for its answer, and
for each piece whose context it is.
"""

import mmap
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import lazrs
import numpy as np

from app.clouds import copc, copc_table, laz, laz_chunks
from app.clouds.las_file import LasFile, append_evlrs, head, parse
from app.clouds.las_records import COPC_HIERARCHY, COPC_INFO, EVLR_HEADER, LASZIP, Record, new_vlr
from app.clouds.octree import Octree
from app.clouds.records import column
from app.errors import BadCloud, TooLarge, UnsupportedFormat
from app.survey import cuts, files
from app.survey.tile import Bounds, Tile

PART_POINTS = 1 << 20  # read, or written, at a time
MAX_VLR_BYTES = 0xFFFF
WAVEFORMS = ("LASF_Spec", 65535)
WAVEFORMS_FROM = 9  # point format


def never_cancelled() -> None:
    """Lets every file be cut and joined to its end."""


@dataclass(frozen=True)
class Piece:
    """A part of a file as a file of its own, and the points around it as another, None if there are none."""

    tile: Tile
    context: Tile | None


@dataclass(frozen=True)
class Pieces:
    """A file that was cut.

    Attributes:
        tile: the file.
        path: of the file, in this machine.
        pieces: in an order in which neighbours mostly follow each other.
        owners: path of a file of one uint16 a point, in the file's order: the piece that has it.
        ring: the file's points within so far of its border, for its neighbours; None if there are none.
    """

    tile: Tile
    path: str
    pieces: list[Piece] = field(default_factory=list)
    owners: str = ""
    ring: Tile | None = None


def cut(
    tile: Tile,
    path: str,
    folder: Path,
    max_points: int,
    buffer_m: float,
    ring_m: float = 0.0,
    check_cancelled: Callable[[], None] = never_cancelled,
) -> Pieces:
    """Cut the file ``path`` of a ``tile`` into files in ``folder``, of at most ``max_points`` where cells allow.

    The context of a piece are the points within ``buffer_m`` of it, the ring those within ``ring_m`` of the border of
    the file. What ``check_cancelled`` raises now and then ends the call. Raises BadCloud if the file cannot be read,
    TooLarge for too many pieces, OSError if the disk is full.
    """
    metres = (tile.metres_per_unit or (1.0, 1.0))[0]
    file = _open(path)
    bounds = tile.bounds or _bounds(file)
    raster = cuts.Raster(bounds)
    counts = np.zeros(raster.num_cells, np.int64)
    for _, x, y in _parts(file, lazrs.SELECTIVE_DECOMPRESS_XY_RETURNS_CHANNEL):
        check_cancelled()
        counts += np.bincount(raster.cells(x, y), minlength=len(counts))
    found = cuts.cut(raster, counts, max_points, buffer_m / metres)
    if len(found) > cuts.MAX_RECTANGLES:
        raise TooLarge(f"{tile.name} would be {len(found):,} pieces; at most {cuts.MAX_RECTANGLES:,} are made.")
    own = [_Writer(folder / f"{number}.las", file) for number in range(len(found))]
    around = [_Writer(folder / f"{number}-context.las", file) for number in range(len(found))]
    ring = _Writer(folder / "ring.las", file)
    low, high = np.array(bounds).reshape(2, 3)[:, :2]
    inner_low, inner_high = low + ring_m / metres, high - ring_m / metres
    with (folder / "owners").open("wb") as owners:
        for records, x, y in _parts(file):
            check_cancelled()
            cells = raster.cells(x, y)
            numbers = found.owners[cells]
            owners.write(numbers.data)
            _spread(own, numbers, records)
            for block in found.blocks(cells, PART_POINTS):
                others, rows = found.context(x[block], y[block], cells[block])
                _spread(around, others, records[block], rows)
            if ring_m > 0:
                is_inner = (x > inner_low[0]) & (x < inner_high[0]) & (y > inner_low[1]) & (y < inner_high[1])
                ring.write(records[~is_inner])
    for writer in (*own, *around, ring):
        writer.finish()
    pieces = [
        Piece(one.tile(tile, number, box), other.tile(tile, number, box) if other.num_points else None)
        for number, (one, other, box) in enumerate(zip(own, around, found.boxes(bounds), strict=True))
    ]
    return Pieces(tile, path, pieces, str(folder / "owners"), ring.tile(tile, -1, bounds) if ring.num_points else None)


def join(
    cut: Pieces,
    answers: Sequence[str],
    target: Path,
    format: str,
    check_cancelled: Callable[[], None] = never_cancelled,
) -> None:
    """Write the answer for the whole file from ``answers``, the LAS files of its pieces in their order.

    ``format`` is las, laz, or for a file that ``kept_nodes`` has nodes of, copc. Header and further records are those
    of the file, but for what the answers added. Raises BadCloud if the answers differ in that, UnsupportedFormat for
    what cannot be compressed.
    """
    heads = [_head(path) for path in answers]
    first = heads[0]
    vlrs = [vlr for vlr in first.vlrs if vlr.key != LASZIP]
    for each in heads[1:]:
        if each.record_length != first.record_length or [bytes(vlr.raw) for vlr in each.vlrs] != [
            bytes(vlr.raw) for vlr in first.vlrs
        ]:
            raise BadCloud("The answers for the pieces of the file have other dimensions than each other.")
    length = first.record_length
    file = _open(cut.path)
    compressed = format == "laz"
    with target.open("w+b") as out:
        if format == "copc":
            checked = _checked(_in_order(cut, answers, heads), check_cancelled)
            evlrs = [evlr for evlr in file.evlrs if not _fits(evlr)]
            like = replace(file, vlrs=vlrs, evlrs=evlrs, record_length=length)
            tree = kept_nodes(cut)
            copc.write(out, like, tree, _by_node(checked, tree.counts), copc_table.times_of(file))
            return
        if compressed and file.point_format >= WAVEFORMS_FROM:
            raise UnsupportedFormat("Points with waveforms are not compressed in pieces: use output=las.")
        laszip = laz_chunks.laszip_of(file.point_format, length)
        if compressed:
            vlrs.append(new_vlr(LASZIP, "https://laszip.org", laszip))
        out.write(head(file, vlrs, length, compressed=compressed))
        parts = _in_order(cut, answers, heads)
        if compressed:
            compressor = lazrs.ParLasZipCompressor(out, lazrs.LazVlr(laszip))
            for records in parts:
                check_cancelled()
                compressor.compress_many(records.reshape(-1))
            compressor.done()
        else:
            for records in parts:
                check_cancelled()
                out.write(records.data)
        append_evlrs(out, file, [evlr for evlr in file.evlrs if evlr.key != COPC_HIERARCHY and not _fits(evlr)])


def kept_nodes(cut: Pieces) -> Octree:
    """The nodes of the octree of a COPC file that was cut; UnsupportedFormat if it is none."""
    tree = copc_table.nodes_of(_open(cut.path))
    if tree is None:
        raise UnsupportedFormat(
            "A file as large as this is labelled in pieces, and becomes COPC only if it is COPC: use output=laz."
        )
    return tree


def _checked(parts: Iterator[np.ndarray], check_cancelled: Callable[[], None]) -> Iterator[np.ndarray]:
    for part in parts:
        check_cancelled()
        yield part


def _by_node(parts: Iterator[np.ndarray], counts: np.ndarray) -> Iterator[list[np.ndarray]]:
    """The records of ``parts`` as those of nodes with ``counts`` points, as many at a time as a part completes."""
    ends, first, done = np.cumsum(counts), 0, 0
    left = None
    for part in parts:
        left = part if left is None else np.concatenate([left, part])
        last = int(np.searchsorted(ends, done + len(left), side="right"))
        nodes = np.split(left, ends[first:last] - done)
        left = nodes.pop()
        first, done = last, int(ends[last - 1]) if last else 0
        if nodes:
            yield nodes


def _in_order(cut: Pieces, answers: Sequence[str], heads: Sequence[LasFile]) -> Iterator[np.ndarray]:
    """The records of the answers in the order of the file."""
    length = heads[0].record_length
    taken = np.zeros(len(answers), np.int64)
    with open(cut.owners, "rb") as owners:
        while len(numbers := np.fromfile(owners, np.uint16, PART_POINTS)):
            order = np.argsort(numbers, kind="stable")
            ordered, records = np.empty((2, len(numbers), length), np.uint8)
            for number, place in _groups(numbers[order]):
                part = ordered[place]
                with open(answers[number], "rb") as answer:
                    answer.seek(heads[number].points_start + int(taken[number]) * length)
                    if answer.readinto(part.data) < part.nbytes:
                        raise BadCloud("The answer for a piece of the file has fewer points than the piece.")
                taken[number] += len(part)
            records[order] = ordered
            yield records


class _Writer:
    """Writes a LAS file with the header of another one, record by record; nothing until there is one."""

    def __init__(self, path: Path, like: LasFile):
        self.num_points = 0
        self._path = path
        self._like = like

    def write(self, records: np.ndarray) -> None:
        """Append ``records`` (N, record_length)."""
        if not len(records):
            return
        with self._path.open("ab") as file:
            if not self.num_points:
                file.write(self._head())
            file.write(np.ascontiguousarray(records).data)
        self.num_points += len(records)

    def finish(self) -> None:
        """Let the header say how many points there are."""
        if self.num_points:
            with self._path.open("r+b") as file:
                file.write(self._head())

    def tile(self, whole: Tile, number: int, bounds: Bounds) -> Tile:
        """The file as the piece ``number`` of the tile ``whole``, which covers ``bounds``."""
        stat = files.stat(str(self._path))
        return replace(
            whole,
            name=f"{whole.name} ({number})",
            path=str(self._path),
            format="las",
            num_bytes=stat.num_bytes,
            version=stat.version,
            num_points=self.num_points,
            bounds=bounds,
        )

    def _head(self) -> bytes:
        like = replace(self._like, num_points=self.num_points)
        kept = [vlr for vlr in like.vlrs if vlr.key not in (LASZIP, COPC_INFO)]
        kept += [new_vlr(evlr.key, "", evlr.data) for evlr in like.evlrs if _fits(evlr)]
        written = bytearray(head(like, kept, like.record_length, compressed=False))
        if like.minor >= 4:
            struct.pack_into("<QI", written, 235, 0, 0)
        if like.minor >= 3:
            struct.pack_into("<Q", written, 227, 0)
        return bytes(written)


def _fits(evlr: Record) -> bool:
    """Whether the files of pieces have ``evlr``, as a VLR: all that describe points are that small."""
    return evlr.key not in (COPC_HIERARCHY, WAVEFORMS) and len(evlr.raw) - EVLR_HEADER <= MAX_VLR_BYTES


def _spread(
    writers: Sequence[_Writer], numbers: np.ndarray, records: np.ndarray, rows: np.ndarray | None = None
) -> None:
    """Append each of the ``records``, or of those at ``rows``, to the file of its number.

    They are put into order as one array, because many small ones would leave holes in the memory of the process.
    """
    order = np.argsort(numbers, kind="stable")
    ordered = records[order if rows is None else rows[order]]
    for number, place in _groups(numbers[order]):
        writers[number].write(ordered[place])


def _groups(numbers: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Each of the ascending ``numbers`` (N,) that occurs, and its places."""
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for first, end in pairwise(bounds):
        if end > first:
            yield int(numbers[first]), slice(first, end)


def _parts(
    file: LasFile, chosen: int = lazrs.SELECTIVE_DECOMPRESS_ALL
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Records of the file, part by part, and their x and y in its units."""
    for records in laz.parts(file, PART_POINTS, chosen):
        x, y = (column(records, 4 * axis, "<i4") * file.scale[axis] + file.offset[axis] for axis in (0, 1))
        yield records, x, y


def _bounds(file: LasFile) -> Bounds:
    """The box around all points, from above."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for _, x, y in _parts(file, lazrs.SELECTIVE_DECOMPRESS_XY_RETURNS_CHANNEL):
        low, high = np.minimum(low, [x.min(), y.min()]), np.maximum(high, [x.max(), y.max()])
    return (*low.tolist(), 0.0, *high.tolist(), 0.0)


def _mapped(path: str) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _open(path: str) -> LasFile:
    """The file, mapped as long as somebody holds it."""
    mapped = _mapped(path)
    return replace(parse(memoryview(mapped)), give_back=lambda: mapped.madvise(mmap.MADV_DONTNEED))


def _head(path: str) -> LasFile:
    """An uncompressed file as its header describes it; nothing of it stays mapped."""
    found = parse(memoryview(_mapped(path)))
    vlrs = [replace(vlr, raw=bytes(vlr.raw)) for vlr in found.vlrs]
    scale, offset = found.scale.copy(), found.offset.copy()
    return replace(found, data=memoryview(b""), vlrs=vlrs, evlrs=[], scale=scale, offset=offset)
