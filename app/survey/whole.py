"""The answer for a whole file, put together from those of its pieces, in the order of its points."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import FileIO
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np

from app.clouds import copc, copc_table, laz, laz_chunks
from app.clouds.las_file import append_evlrs, head
from app.clouds.las_records import COPC_HIERARCHY, LASZIP, new_vlr
from app.clouds.octree import Octree
from app.errors import BadCloud, UnsupportedFormat
from app.survey.changes import Changes
from app.survey.piece_file import fits, head_of, opened
from app.survey.pieces import CHUNKS, Pieces, groups, in_threads, never_cancelled

PART_POINTS = CHUNKS * laz_chunks.USUAL_CHUNK  # written at a time
WAVEFORMS_FROM = 9  # point format
Made = TypeVar("Made")


def join(
    cut: Pieces,
    answers: Sequence[Changes],
    target: Path,
    format: str,
    check_cancelled: Callable[[], None] = never_cancelled,
) -> None:
    """Write the answer for the whole file from its pieces and their ``answers``.

    ``format`` is las, laz, or for a file that ``kept_nodes`` has nodes of, copc. Header and further records are those
    of the file, but for what the answers added. Files of a piece are removed once all its points are taken. Raises
    BadCloud if the answers differ in what they added, UnsupportedFormat for what cannot be compressed.
    """
    first = answers[0].head
    vlrs = [vlr for vlr in first.vlrs if vlr.key != LASZIP]
    for each in (answer.head for answer in answers[1:]):
        if each.record_length != first.record_length or [bytes(vlr.raw) for vlr in each.vlrs] != [
            bytes(vlr.raw) for vlr in first.vlrs
        ]:
            raise BadCloud("The answers for the pieces of the file have other dimensions than each other.")
    length = first.record_length
    file = opened(cut.path)
    source = _Answers(cut, answers, file.record_length, check_cancelled)
    with target.open("w+b") as out:
        if format == "copc":
            evlrs = [evlr for evlr in file.evlrs if not fits(evlr)]
            like = replace(file, vlrs=vlrs, evlrs=evlrs, record_length=length)
            tree = kept_nodes(cut)
            nodes = _by_node(source.each(lambda records: records), tree.counts)
            copc.write(out, like, tree, nodes, copc_table.times_of(file))
            return
        if format == "laz":
            if file.point_format >= WAVEFORMS_FROM:
                raise UnsupportedFormat("Points with waveforms are not compressed in pieces: use output=las.")
            laszip = laz_chunks.laszip_of(file.point_format, length)
            vlrs.append(new_vlr(LASZIP, "https://laszip.org", laszip))
            out.write(head(file, vlrs, length, compressed=True))
            laz.encode_parts(out, laszip, source.each(lambda records: laz.packed(laszip, records)))
        else:
            out.write(head(file, vlrs, length, compressed=False))
            for records in source.each(lambda records: records):
                out.write(records.data)
        append_evlrs(out, file, [evlr for evlr in file.evlrs if evlr.key != COPC_HIERARCHY and not fits(evlr)])


def kept_nodes(cut: Pieces) -> Octree:
    """The nodes of the octree of a COPC file that was cut; UnsupportedFormat if it is none."""
    tree = copc_table.nodes_of(opened(cut.path))
    if tree is None:
        raise UnsupportedFormat(
            "A file as large as this is labelled in pieces, and becomes COPC only if it is COPC: use output=laz."
        )
    return tree


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


@dataclass(frozen=True)
class _Part:
    """Points that follow each other in the file: the block of each, and where they are in the pieces.

    Attributes:
        blocks: (N,), of the points.
        firsts: of each block that occurs, ascending, the place that its first point here has in its piece.
    """

    blocks: np.ndarray
    firsts: np.ndarray


class _Answers:
    """The answers of the pieces, by the order of the file."""

    def __init__(
        self, cut: Pieces, changes: Sequence[Changes], record_length: int, check_cancelled: Callable[[], None]
    ):
        self._cut, self._changes, self._record_length = cut, changes, record_length
        self._paths = [piece.path for piece in cut.pieces]
        self._starts = [head_of(path).points_start for path in self._paths]
        self._check_cancelled = check_cancelled

    def each(self, made: Callable[[np.ndarray], Made]) -> Iterator[Made]:
        """What ``made`` makes of the records (N, record_length) of each part of the file."""
        left = np.array([piece.num_points for piece in self._cut.pieces])
        owners = self._cut.cuts.owners

        def make(part: _Part) -> tuple[np.ndarray, Made]:
            return np.bincount(owners[part.blocks], minlength=len(left)), made(self._records(part))

        for counts, result in in_threads(make, self._parts()):
            self._check_cancelled()
            left -= counts
            for number in np.flatnonzero((left == 0) & (counts > 0)).tolist():
                os.unlink(self._paths[number])
                os.unlink(self._changes[number].path)
            yield result

    def _parts(self) -> Iterator[_Part]:
        next_places = self._cut.places.copy()
        kind = self._cut.cuts.block_of.dtype
        with open(self._cut.block_of, "rb") as file:
            while len(blocks := np.fromfile(file, kind, PART_POINTS)):
                counts = np.bincount(blocks, minlength=len(next_places))
                yield _Part(blocks, next_places[counts > 0])
                next_places += counts

    def _records(self, part: _Part) -> np.ndarray:
        order = np.argsort(part.blocks, kind="stable")
        own = np.empty((len(order), self._record_length), np.uint8)
        ordered, records = np.empty((2, len(order), self._changes[0].head.record_length), np.uint8)
        members = zip(part.firsts.tolist(), groups(part.blocks[order]), strict=True)
        for number, found in groupby(members, lambda each: int(self._cut.cuts.owners[each[1][0]])):
            changes = self._changes[number]
            with open(self._paths[number], "rb", 0) as piece, open(changes.path, "rb", 0) as answer:
                for first, (_, rows) in found:
                    _read(piece, self._starts[number], first, own[rows])
                    changed = np.empty((rows.stop - rows.start, len(changes.places)), np.uint8)
                    _read(answer, 0, first, changed)
                    ordered[rows, : self._record_length] = own[rows]
                    ordered[rows, changes.places] = changed
        records[order] = ordered
        return records


def _read(file: FileIO, start: int, first: int, records: np.ndarray) -> None:
    """Read ``records`` (N, length), of which the file has the number ``first`` and those that follow."""
    if os.preadv(file.fileno(), [records.data], start + first * records.shape[1]) < records.nbytes:
        raise BadCloud("A piece of the file, or its answer, has fewer points than it had.")
