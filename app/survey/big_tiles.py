"""Tiles that are larger than memory, for any workers: they get them piece by piece, as tiles of their own.

``BigTiles`` stands between a driver and its workers, and is a ``Workers`` itself. A LAS, LAZ or COPC file of more
points than half of what the workers take at once is cut by ``app.survey.pieces`` when it is to be decoded. To label it,
the workers decode and label its pieces, with the points around each and the rings of the tile's neighbours for rings,
and the answers are put together.
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

from app.engine.body import Storage
from app.errors import BadRequest, Busy, NotReady
from app.options import Options
from app.survey import answers, changes, files, headers, pieces, remote, whole, whole_result
from app.survey.changes import Changes
from app.survey.disk import Claim, Disk, needed_bytes
from app.survey.piece_file import opened
from app.survey.pieces import Pieces
from app.survey.retries import MAX_LOSSES
from app.survey.tile import Tile
from app.survey.workers import Capacity, DecodedTile, Model, Ring, Task, TileResult, WorkerLost, Workers

CUT = ("las", "laz")  # formats of files that are cut
FORMATS = (*CUT, "copc")  # of their answers
LEAST_POINTS = 10_000  # of a piece
TRIES, RETRY_S = 8, 5.0  # of a piece for which there is no room at the moment
ALL_M = 1e9  # width of a ring that holds all points of a file

_Labelled = tuple[TileResult, Changes]


@dataclass(frozen=True)
class _CutTile:
    """The files of the pieces of a tile, and the room that they have on the disk."""

    cut: Pieces
    claim: Claim
    cut_ms: float


@dataclass(eq=False)
class BigTile:
    """A decoded tile that is files of its pieces, which may be removed to be made again when it is labelled."""

    num_points: int
    files: _CutTile
    ring: Ring | None
    disk: Disk
    num_bytes: int = field(default=0, init=False)  # of memory

    def close(self) -> None:
        """Remove the files."""
        self.disk.give_back(self.files.claim)


class BigTiles:
    """``workers`` that label tiles of any size, those that are too large in pieces."""

    def __init__(self, workers: Workers, folder: Path, buffer_m: float):
        """Pieces lie in ``folder``; each has the context within ``buffer_m``."""
        self._workers = workers
        self._disk = Disk(folder)
        self._buffer_m = buffer_m
        self._threads = ThreadPoolExecutor(2, "big tile")  # one tile is labelled while the next is cut
        self._stopping = Event()
        self._stages: dict[str, str] = {}  # by the name of the tile

    @property
    def stages(self) -> list[str]:
        """What is done at the moment with each tile that goes in pieces."""
        return [f"{name}: {stage}" for name, stage in self._stages.copy().items()]

    @contextmanager
    def _told(self, tile: Tile) -> Iterator[None]:
        try:
            yield
        finally:
            self._stages.pop(tile.name, None)

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
            return self._threads.submit(self._decode, tile, ring_m, options)
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

    def _decode(self, tile: Tile, ring_m: float, options: Options) -> DecodedTile:
        with self._told(tile):
            found = self._cut(tile, ring_m, options)
        try:
            ring = self._ring(found.cut.ring, options) if found.cut.ring else None
        except BaseException:
            self._disk.give_back(found.claim)
            raise
        self._disk.rest(found.claim)
        return BigTile(tile.num_points or 0, found, ring, self._disk)

    def _cut(self, tile: Tile, ring_m: float, options: Options) -> _CutTile:
        """The files of the pieces of ``tile``, in use."""
        begin = time.perf_counter()
        self._stages[tile.name] = "it is cut"
        max_points = max(LEAST_POINTS, self._points_at_once // max(1, self.capacity.labels))
        num_bytes = needed_bytes(headers.las_file(tile), options, self._points_at_once)
        num_bytes += tile.num_bytes if remote.scheme(tile.path) else 0
        claim = self._disk.claim(tile.name, num_bytes, self._check_stopped)
        try:
            with claim.filled():
                body = claim.held.enter_context(files.open_local(tile, Storage(0, claim.folder)))
                path = f"/proc/self/fd/{body.fd}"
                cut = pieces.cut(tile, path, claim.folder, max_points, self._buffer_m, ring_m, self._check_stopped)
            files.check_version(tile)
        except BaseException:
            self._disk.give_back(claim)
            raise
        return _CutTile(cut, claim, 1e3 * (time.perf_counter() - begin))

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
        try:
            with self._told(tile):
                if not self._disk.use(big.files.claim):
                    big.files = self._cut(tile, 0.0, task.options)
                with big.files.claim.filled():
                    return self._joined(tile, big.files, rings, task)
        finally:
            self._disk.rest(big.files.claim)

    def _joined(self, tile: Tile, of_tile: _CutTile, rings: Sequence[Ring], task: Task) -> TileResult:
        """Label all pieces, and put the answer into its place."""
        cut, folder = of_tile.cut, of_tile.claim.folder
        if task.format == "copc":
            whole.kept_nodes(cut)  # or there is none, which better shows now
        begin = time.perf_counter()
        at_once = self.capacity.labels + self.capacity.decodes  # as many as the driver has of other tiles
        with ThreadPoolExecutor(max(1, at_once), "piece") as pool:
            asked = [pool.submit(self._piece, cut, number, rings, task, folder) for number in range(len(cut.pieces))]
            try:
                found, changed = zip(*self._results(tile, asked), strict=True)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        labelled = time.perf_counter()
        self._stages[tile.name] = "its pieces are put together"
        joined = folder / "whole"
        whole.join(cut, changed, joined, task.format, self._check_stopped)
        placed = answers.place_file(joined, task, tile)
        timings_ms = {"cut": of_tile.cut_ms, "pieces": 1e3 * (labelled - begin)}
        timings_ms |= {"join": 1e3 * (time.perf_counter() - labelled)}
        return whole_result.of(found, task.output, placed, timings_ms, opened(cut.path).warnings)

    def _results(self, tile: Tile, asked: Sequence["Future[_Labelled]"]) -> Iterator[_Labelled]:
        for number, each in enumerate(asked):
            self._stages[tile.name] = f"{number:,} of {len(asked):,} pieces are labelled"
            yield each.result()

    def _piece(self, cut: Pieces, number: int, rings: Sequence[Ring], task: Task, folder: Path) -> _Labelled:
        """Label a piece; of its answer its changes stay in ``folder``."""
        tile = cut.pieces[number]
        options = replace(task.options, output="las")
        own = Task(f"{tile.path}.answer", str(folder), "las", options, task.buffer_m, task.frame, is_passing=True)
        around = folder / f"{number}-context.las"
        context = pieces.write_context(cut, number, around)
        for attempt in range(TRIES):
            try:
                result = self._labelled(tile, context, rings, own)
                break
            except (Busy, NotReady, WorkerLost) as problem:
                tries = MAX_LOSSES if isinstance(problem, WorkerLost) else TRIES
                if attempt >= tries - 1 or self._stopping.wait(problem.retry_after_s or RETRY_S):
                    raise
        around.unlink(missing_ok=True)
        return result, changes.taken(tile.path, result.output)

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
