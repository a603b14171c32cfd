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
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import TypeVar
from uuid import uuid4

from app.clouds.area import NONE_WITHIN
from app.engine.body import Storage
from app.errors import BadRequest, Busy, NoRoom, NotReady, storage_problem
from app.options import Options
from app.survey import answers, changes, files, pieces, whole
from app.survey.changes import Changes
from app.survey.pieces import Pieces
from app.survey.tile import Tile
from app.survey.workers import Capacity, DecodedTile, Model, Ring, Task, TileResult, Workers

CUT = ("las", "laz")  # formats of files that are cut
FORMATS = (*CUT, "copc")  # of their answers
LEAST_POINTS = 10_000  # of a piece
POINT_BYTES = 40  # of a point on disk, about: its record in a piece, what the answer changes in it, and its block
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
    cut_ms: float = 0.0
    num_bytes: int = field(default=0, init=False)  # of memory

    @property
    def num_points(self) -> int:
        """Points of the tile."""
        return sum(piece.num_points or 0 for piece in self.cut.pieces)

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
        return self.capacity.points

    def model(self, options: Options) -> Model:
        """As ``Workers`` says."""
        return self._workers.model(options)

    def decode(self, tile: Tile, ring_m: float, options: Options) -> "Future[DecodedTile]":
        """As ``Workers`` says."""
        if is_big(tile, self._points_at_once):
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
        begin = time.perf_counter()
        folder = self._folder / uuid4().hex
        max_points = max(LEAST_POINTS, self._points_at_once // max(1, self.capacity.labels))
        with ExitStack() as held:
            held.callback(shutil.rmtree, folder, ignore_errors=True)
            try:
                folder.mkdir(parents=True)
                _check_room(tile, folder)
                body = held.enter_context(files.open_local(tile, Storage(0, folder)))
                path = f"/proc/self/fd/{body.fd}"
                cut = pieces.cut(tile, path, folder, max_points, self._buffer_m, ring_m, self._check_stopped)
            except OSError as error:
                raise storage_problem(error, "the pieces of the file") from error
            files.check_version(tile)
            ring = self._ring(cut.ring, options) if cut.ring else None
            return BigTile(cut, held.pop_all(), ring, 1e3 * (time.perf_counter() - begin))
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
            whole.kept_nodes(big.cut)  # or there is none, which better shows now
        folder = Path(big.cut.block_of).parent
        begin = time.perf_counter()
        at_once = self.capacity.labels + self.capacity.decodes  # as many as the driver has of other tiles
        with ThreadPoolExecutor(max(1, at_once), "piece") as pool:
            asked = [
                pool.submit(self._piece, big.cut, number, rings, task, folder) for number in range(len(big.cut.pieces))
            ]
            try:
                found, changed = zip(*(each.result() for each in asked), strict=True)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        labelled = time.perf_counter()
        joined = folder / "whole"
        try:
            whole.join(big.cut, changed, joined, task.format, self._check_stopped)
        except OSError as error:
            raise storage_problem(error, "the answer") from error
        placed = answers.place_file(joined, task, tile)
        timings_ms = {"cut": big.cut_ms, "pieces": 1e3 * (labelled - begin)} | _added(each.timings_ms for each in found)
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
            timings_ms=timings_ms | {"join": 1e3 * (time.perf_counter() - labelled)},
        )

    def _piece(
        self, cut: Pieces, number: int, rings: Sequence[Ring], task: Task, folder: Path
    ) -> tuple[TileResult, Changes]:
        """Label a piece; of its answer its changes stay in ``folder``."""
        tile = cut.pieces[number]
        options = replace(task.options, output="las")
        own = Task(f"{tile.path}.answer", str(folder), "las", options, task.buffer_m, task.frame, is_passing=True)
        around = folder / f"{number}-context.las"
        try:
            context = pieces.write_context(cut, number, around)
        except OSError as error:
            raise storage_problem(error, "the points around a piece") from error
        for attempt in range(TRIES):
            try:
                result = self._labelled(tile, context, rings, own)
                break
            except (Busy, NotReady) as problem:
                if attempt == TRIES - 1 or self._stopping.wait(problem.retry_after_s or RETRY_S):
                    raise
        around.unlink(missing_ok=True)
        try:
            return result, changes.taken(tile.path, result.output)
        except OSError as error:
            raise storage_problem(error, "the answer for a piece") from error

    def _labelled(self, tile: Tile, context: Tile | None, rings: Sequence[Ring], task: Task) -> TileResult:
        options = task.options
        with ExitStack() as stack:
            around = list(rings)
            if context:
                decoded = self._workers.decode(context, ALL_M, options).result()
                stack.callback(decoded.close)
                if decoded.ring:
                    stack.callback(decoded.ring.close)
                    around.insert(0, decoded.ring)
            cloud = self._workers.decode(tile, 0.0, options).result()
            stack.callback(cloud.close)
            return self._workers.label(tile, cloud, around, task).result()


def is_big(tile: Tile, points_at_once: int) -> bool:
    """Whether workers that take ``points_at_once`` get a ``tile`` in pieces; half of them are for what is around it."""
    return tile.format in CUT and (tile.num_points or 0) > max(LEAST_POINTS, points_at_once // 2)


def disk_bytes(tile: Tile) -> int:
    """What the pieces and answers of a ``tile`` take on disk at most, about."""
    return POINT_BYTES * (tile.num_points or 0) + tile.num_bytes


def _check_room(tile: Tile, folder: Path) -> None:
    needed, free = disk_bytes(tile), shutil.disk_usage(folder).free
    if needed > free:
        raise NoRoom(
            f"{tile.name} goes in pieces, which take about {needed / 1e9:.1f} GB beside its answers; the disk has "
            f"{free / 1e9:.1f} GB left."
        )


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
