"""A LAS, LAZ or COPC file that is larger than memory, cut into files of its pieces.

``cut`` goes through the file twice, some chunks at a time, which all cores unpack: to count where points lie, and
to put each into the file of its piece. LAZ is in no order of places in general, and chunks of COPC come in that of its
octree, so all are read alike. There a point lies in its block: of the points around a piece, which ``write_context``
puts into a file when the piece is labelled, those of a few blocks of its neighbours are looked at. ``whole.join`` puts
the answers together. On disk that takes a point's record, in its piece, what its answer changes in it, and two bytes
(four in more than 65,536 blocks) for its block.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from threading import Lock
from typing import TypeVar

import lazrs
import numpy as np

from app.clouds import laz, laz_chunks
from app.clouds.cloud import Bounds
from app.clouds.las_file import LasFile
from app.diagnostics.machine import usable_cores
from app.errors import TooLarge
from app.survey import ahead, cuts
from app.survey.cuts import Cuts
from app.survey.piece_file import PieceFile, horizontal, opened
from app.survey.tile import Tile

CHUNKS = max(4, min(16, usable_cores()))  # unpacked or packed at a time: lazrs has a core for each, and keeps the GIL
PART_POINTS = CHUNKS * laz_chunks.USUAL_CHUNK
THREADS = 6  # have a part each: while one unpacks, the others sort
Item = TypeVar("Item")
Result = TypeVar("Result")
XY = lazrs.SELECTIVE_DECOMPRESS_XY_RETURNS_CHANNEL


def never_cancelled() -> None:
    """Lets every file be cut and joined to its end."""


@dataclass(frozen=True)
class Pieces:
    """A file that was cut.

    Attributes:
        tile: the file.
        path: of the file, in this machine.
        cuts: its rectangles, one a piece, and their B blocks.
        counts: int64 (B,), points of each block.
        pieces: each as a file, in an order in which neighbours mostly follow each other. Points come block by block, in
            a block in the order of the whole file.
        block_of: path of a file of one number a point, in the file's order: its block, as ``cuts.block_of`` has it.
        ring: the file's points within so far of its border, for its neighbours; None if there are none.
    """

    tile: Tile
    path: str
    cuts: Cuts
    counts: np.ndarray
    pieces: list[Tile]
    block_of: str
    ring: Tile | None = None

    @cached_property
    def places(self) -> np.ndarray:
        """int64 (B,), the number that the first point of each block has in its piece."""
        return places(self.cuts, self.counts)


def cut(
    tile: Tile,
    path: str,
    folder: Path,
    max_points: int,
    buffer_m: float,
    ring_m: float = 0.0,
    check_cancelled: Callable[[], None] = never_cancelled,
) -> Pieces:
    """Cut the file ``path`` of a ``tile`` into files in ``folder``, with ``max_points`` and their context at most, as
    ``cuts.cut`` does.

    The context of a piece are the points within ``buffer_m`` of it, the ring those within ``ring_m`` of the border of
    the file. What ``check_cancelled`` raises now and then ends the call. Raises BadCloud if the file cannot be read,
    TooLarge for too many pieces, OSError if the disk is full.
    """
    metres = (tile.metres_per_unit or (1.0, 1.0))[0]
    file = opened(path)
    parts = laz.parts(file, PART_POINTS)
    bounds = tile.bounds or _bounds(file, parts)
    raster = cuts.Raster(bounds)
    counts = np.zeros(raster.num_cells, np.int64)

    lock = Lock()

    def count(part: laz.Part) -> None:
        found = np.bincount(raster.cells(*horizontal(file, part.unpack(XY))), minlength=raster.num_cells)
        with lock:
            counts[:] += found

    for _ in in_threads(count, parts):
        check_cancelled()
    rectangles = cuts.cut(raster, counts, max_points, buffer_m / metres)
    if len(rectangles) > cuts.MAX_RECTANGLES:
        raise TooLarge(f"{tile.name} would be {len(rectangles):,} pieces; at most {cuts.MAX_RECTANGLES:,} are made.")
    spread = _Spread(file, rectangles, counts, folder)
    ring = PieceFile(folder / "ring.las", file)
    low, high = np.array(bounds).reshape(2, 3)[:, :2]

    def sort(part: laz.Part) -> tuple[np.ndarray, ...]:
        records = part.unpack(lazrs.SELECTIVE_DECOMPRESS_ALL)
        x, y = horizontal(file, records)
        blocks = rectangles.block_of[raster.cells(x, y)]
        order = np.argsort(blocks, kind="stable")
        border = records[:0]
        if ring_m > 0:
            places = np.column_stack([x, y])
            border = records[~((places > low + ring_m / metres) & (places < high - ring_m / metres)).all(1)]
        return blocks, blocks[order], records[order], border

    with (folder / "blocks").open("wb") as written:
        for blocks, ordered, records, border in in_threads(sort, parts):
            check_cancelled()
            written.write(blocks.data)
            spread.write(ordered, records)
            if len(border):
                ring.append(border)
    whole = ring.tile(tile, -1, bounds) if ring.num_points else None
    return Pieces(tile, path, rectangles, spread.counts, spread.pieces(tile, bounds), str(folder / "blocks"), whole)


def write_context(cut: Pieces, number: int, path: Path) -> Tile | None:
    """Write the points around the piece ``number`` to the file ``path``; None, and no file, if there are none."""
    file = opened(cut.path)
    context = PieceFile(path, file)
    for block in cut.cuts.around(number).tolist():
        piece = PieceFile(Path(cut.pieces[cut.cuts.owners[block]].path), file)
        first, end = int(cut.places[block]), int(cut.places[block] + cut.counts[block])
        for start in range(first, end, PART_POINTS):
            records = piece.read(start, min(PART_POINTS, end - start))
            records = records[cut.cuts.is_near(number, *horizontal(file, records))]
            if len(records):
                context.append(records)
    if not context.num_points:
        return None
    bounds = cut.pieces[number].bounds
    assert bounds
    return context.tile(cut.tile, number, bounds)


def places(found: Cuts, counts: np.ndarray) -> np.ndarray:
    """int64 (B,), as ``Pieces.places``, of blocks with ``counts`` (B,) points."""
    before = np.cumsum(counts) - counts
    return before - before[np.searchsorted(found.owners, found.owners)]


def groups(numbers: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Each of the ascending ``numbers`` (N,) that occurs, and its places."""
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for first, end in pairwise(bounds):
        if end > first:
            yield int(numbers[first]), slice(first, end)


def in_threads(call: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What ``call`` returns for each of ``items``, in their order; those that threads have at work are taken."""
    return ahead.each(call, items, THREADS, rounds=1)


class _Spread:
    """Puts points into the files of their pieces."""

    def __init__(self, file: LasFile, found: Cuts, cell_counts: np.ndarray, folder: Path):
        self.counts = np.zeros(len(found.blocks), np.int64)
        np.add.at(self.counts, found.block_of, cell_counts)
        self._next = places(found, self.counts)  # place of the next point of each block in its piece
        self._cuts = found
        num_points = np.bincount(found.owners, self.counts, len(found)).astype(int).tolist()
        self._files = [PieceFile(folder / f"{number}.las", file, count) for number, count in enumerate(num_points)]

    def write(self, blocks: np.ndarray, records: np.ndarray) -> None:
        """Write ``records`` (N, record_length), in order of their ``blocks`` (N,)."""
        for number, found in groupby(groups(blocks), lambda each: int(self._cuts.owners[each[0]])):
            members = list(found)
            self._files[number].write(records, [(int(self._next[block]), rows) for block, rows in members])
            for block, rows in members:
                self._next[block] += rows.stop - rows.start

    def pieces(self, tile: Tile, bounds: Bounds) -> list[Tile]:
        """The files, once all points are there."""
        each = zip(self._files, self._cuts.boxes(bounds), strict=True)
        return [file.tile(tile, number, box) for number, (file, box) in enumerate(each)]


def _bounds(file: LasFile, parts: Sequence[laz.Part]) -> Bounds:
    """The box around all points, from above."""

    def ends(part: laz.Part) -> np.ndarray:
        places = np.column_stack(horizontal(file, part.unpack(XY)))
        return np.array([places.min(0), places.max(0)])

    found = np.array(list(in_threads(ends, parts)))
    low, high = found[:, 0].min(0).tolist(), found[:, 1].max(0).tolist()
    return (*low, 0.0, *high, 0.0)
