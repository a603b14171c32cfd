"""Tiles that are larger than memory, for any workers: they get them piece by piece, as tiles of their own.

``BigTiles`` stands between a driver and its workers, and is a ``Workers`` itself. A LAS, LAZ or COPC file of more
points than half of what the workers take at once is cut by ``app.survey.pieces`` when it is to be decoded. To label it,
the workers decode and label its pieces, with the points around each and the rings of the tile's neighbours for rings,
and the answers are put together.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import TypeVar
from uuid import uuid4

from app.clouds.area import NONE_WITHIN
from app.engine.body import Storage
from app.errors import BadRequest, Busy, NotReady, storage_problem
from app.options import Options
from app.survey import answers, files, pieces
from app.survey.pieces import Piece, Pieces
from app.survey.tile import Tile
from app.survey.workers import Capacity, DecodedTile, Model, Ring, Task, TileResult, Workers

CUT = ("las", "laz")  # formats of files that are cut
FORMATS = (*CUT, "copc")  # of their answers
LEAST_POINTS = 10_000  # of a piece
COPY_BYTES = 1 << 22
TRIES, RETRY_S = 8, 5.0  # of a piece for which there is no room at the moment
ALL_M = 1e9  # width of a ring that holds all points of a file

Key = TypeVar("Key", int, str)
Number = TypeVar("Number", int, float)


@dataclass(eq=False)
class BigTile:
    """A decoded tile that is files of its pieces. They are removed when it is closed."""

    cut: Pieces
    held: ExitStack
    ring: Ring | None = None
    num_bytes: int = field(default=0, init=False)  # of memory

    @property
    def num_points(self) -> int:
        """Points of the tile."""
        return sum(piece.tile.num_points or 0 for piece in self.cut.pieces)

    def close(self) -> None:
        """Remove the files."""
        self.held.close()


class BigTiles:
    """``workers`` that label tiles of any size, those that are too large in pieces."""

    def __init__(self, workers: Workers, folder: Path, buffer_m: float):
        """Pieces lie in ``folder``; each has the context within ``buffer_m``."""
        self._workers = workers
        self._folder = folder
        self._buffer_m = buffer_m
        self._threads = ThreadPoolExecutor(2, "big tile")  # one tile is labelled while the next is cut
        self._stopping = Event()

    @property
    def capacity(self) -> Capacity:
        """That of the workers."""
        return self._workers.capacity

    @property
    def _points_at_once(self) -> int:
        return max(LEAST_POINTS, self.capacity.points // 2)  # the other half is for their context

    def model(self, options: Options) -> Model:
        """As ``Workers`` says."""
        return self._workers.model(options)

    def decode(self, tile: Tile, ring_m: float, options: Options) -> "Future[DecodedTile]":
        """As ``Workers`` says."""
        if tile.format in CUT and (tile.num_points or 0) > self._points_at_once:
            return self._threads.submit(self._cut, tile, ring_m, options)
        return self._workers.decode(tile, ring_m, options)

    def label(self, tile: Tile, cloud: DecodedTile, rings: Sequence[Ring], task: Task) -> "Future[TileResult]":
        """As ``Workers`` says."""
        if isinstance(cloud, BigTile):
            return self._threads.submit(self._label, tile, cloud, rings, task)
        return self._workers.label(tile, cloud, rings, task)

    def stop(self) -> None:
        """As ``Workers`` says."""
        self._stopping.set()
        self._workers.stop()
        self._threads.shutdown(cancel_futures=True)

    def _check_stopped(self) -> None:
        if self._stopping.is_set():
            raise NotReady("The survey was stopped.")

    def _cut(self, tile: Tile, ring_m: float, options: Options) -> DecodedTile:
        folder = self._folder / uuid4().hex
        max_points = max(LEAST_POINTS, self._points_at_once // max(1, self.capacity.labels))
        with ExitStack() as held:
            held.callback(shutil.rmtree, folder, ignore_errors=True)
            try:
                folder.mkdir(parents=True)
                body = held.enter_context(files.open_local(tile, Storage(0, folder)))
                path = f"/proc/self/fd/{body.fd}"
                cut = pieces.cut(tile, path, folder, max_points, self._buffer_m, ring_m, self._check_stopped)
            except OSError as error:
                raise storage_problem(error, "the pieces of the file") from error
            files.check_version(tile)
            ring = self._ring(cut.ring, options) if cut.ring else None
            return BigTile(cut, held.pop_all(), ring)
        raise AssertionError

    def _ring(self, tile: Tile, options: Options) -> Ring | None:
        """All points of the file ``tile``, which is not needed any more, as a ring."""
        with ExitStack() as stack:
            stack.callback(os.unlink, tile.path)
            decoded = self._workers.decode(tile, ALL_M, options).result()
            stack.callback(decoded.close)
            return decoded.ring

    def _label(self, tile: Tile, big: BigTile, rings: Sequence[Ring], task: Task) -> TileResult:
        if task.format not in FORMATS:
            raise BadRequest(
                f"A file as large as this is labelled in pieces, and its answer is one of {', '.join(FORMATS)}."
            )
        if task.format == "copc":
            pieces.kept_nodes(big.cut)  # or there is none, which better shows now
        folder = Path(big.cut.owners).parent
        with ThreadPoolExecutor(max(1, self.capacity.labels), "piece") as pool:
            asked = [pool.submit(self._piece, piece, rings, task, folder) for piece in big.cut.pieces]
            try:
                found = [each.result() for each in asked]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        begin = time.perf_counter()
        whole = folder / "whole"
        try:
            pieces.join(big.cut, [each.output for each in found], whole, task.format, self._check_stopped)
        except OSError as error:
            raise storage_problem(error, "the answer") from error
        placed = answers.place(_chunks(whole), task, tile)
        timings_ms = _added(each.timings_ms for each in found)
        return replace(
            found[0],
            num_points=big.num_points,
            output=task.output,
            num_bytes=placed.num_bytes,
            sha256=placed.sha256,
            version=placed.version,
            counts=_added(each.counts for each in found),
            num_context=sum(each.num_context for each in found),
            reference=next((each.reference for each in found if each.reference), ""),
            agreement=_agreement(found),
            refined=_added(each.refined for each in found),
            warnings=_warnings([each.warnings for each in found]),
            timings_ms=timings_ms | {"join": 1e3 * (time.perf_counter() - begin)},
        )

    def _piece(self, piece: Piece, rings: Sequence[Ring], task: Task, folder: Path) -> TileResult:
        """Label a piece; its answer goes to ``folder``, and its own files are removed."""
        options = replace(task.options, output="las")
        own = replace(task, output=f"{piece.tile.path}.answer", partial=str(folder), format="las", options=options)
        for attempt in range(TRIES):
            try:
                return self._labelled(piece, rings, own)
            except (Busy, NotReady) as problem:
                if attempt == TRIES - 1 or self._stopping.wait(problem.retry_after_s or RETRY_S):
                    raise
        raise AssertionError

    def _labelled(self, piece: Piece, rings: Sequence[Ring], task: Task) -> TileResult:
        options = task.options
        with ExitStack() as stack:
            around = list(rings)
            if piece.context:
                context = self._workers.decode(piece.context, ALL_M, options).result()
                stack.callback(context.close)
                if context.ring:
                    stack.callback(context.ring.close)
                    around.insert(0, context.ring)
            cloud = self._workers.decode(piece.tile, 0.0, options).result()
            stack.callback(cloud.close)
            result = self._workers.label(piece.tile, cloud, around, task).result()
        for each in (piece.tile, piece.context):
            if each:
                os.unlink(each.path)
        return result


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(COPY_BYTES):
            yield chunk


def _added(parts: Iterable[Mapping[Key, Number]]) -> dict[Key, Number]:
    """The sum of each number over all ``parts`` that have it."""
    total: dict[Key, Number] = {}
    for part in parts:
        for key, number in part.items():
            total[key] = total[key] + number if key in total else number
    return total


def _warnings(parts: Sequence[Sequence[str]]) -> list[str]:
    """Those of any part, each once; that no point is within an area only if all parts say so."""
    texts = dict.fromkeys(text for part in parts for text in part)
    return [text for text in texts if text != NONE_WITHIN or all(text in part for part in parts)]


def _agreement(found: Sequence[TileResult]) -> list[tuple[int, int, int]]:
    """Points by code and class id, of all pieces."""
    total: Counter[tuple[int, int]] = Counter()
    for each in found:
        for code, label, count in each.agreement:
            total[code, label] += count
    return [(code, label, count) for (code, label), count in sorted(total.items())]
