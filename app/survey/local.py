"""Workers in this machine: the readers and engines of a ``Service``."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from app.clouds import catalog
from app.clouds.cloud import SegmentationMeta
from app.engine import devices
from app.engine.answer import EncodedFile
from app.engine.body import Body, Storage
from app.engine.packed import Packed, PackedRing
from app.engine.protocol import CloudMeta
from app.engine.request import Request
from app.engine.service import Service
from app.errors import BadCloud
from app.options import Options
from app.settings import MIB, Settings
from app.survey import answers, files, remote, target
from app.survey.models import model_of
from app.survey.tile import Tile
from app.survey.workers import Capacity, DecodedTile, Model, Ring, Task, TileResult

LEAST_READERS = 2
READY_S = 600.0  # for loading models
POINT_BYTES = 1000  # of a point that is labelled, about: its cloud, an engine, and the answer
KEPT_SHARE = 4  # one part in so many of the memory of requests is for tiles that nobody works on yet
KEPT_BYTES = 4 << 30  # if that memory has no limit
HANDLES = 250
SPOOL_SHARE = 16  # one part in so many may be a file that was fetched; larger ones go to disk
COPY_BYTES = 1 << 20
EMPTY = "The file has no points: its answer is a copy of it."


def readers_for(num_cores: int) -> int:
    """Readers of workers with so many cores, unless somebody says how many: they do all work on points but the
    networks', a file at a time."""
    return max(LEAST_READERS, num_cores // 2)


@dataclass(eq=False)
class LocalRing:
    """A ring in a memory file."""

    cloud: PackedRing

    @property
    def num_points(self) -> int:
        """Points of it."""
        return self.cloud.num_points

    @property
    def num_bytes(self) -> int:
        """Of the memory file."""
        return self.cloud.num_bytes

    def close(self) -> None:
        """Give the memory back."""
        self.cloud.close()


@dataclass(eq=False)
class LocalTile:
    """A decoded tile in a memory file, and its file, which the answer may keep; no cloud if the file has no points."""

    body: Body
    cloud: Packed[CloudMeta] | None
    ring: LocalRing | None = None
    decode_ms: float = 0.0
    held: ExitStack = field(default_factory=ExitStack)

    @property
    def num_points(self) -> int:
        """Points of the tile."""
        return self.cloud.num_points if self.cloud else 0

    @property
    def num_bytes(self) -> int:
        """Of the memory file, and of the file itself if that was fetched into memory."""
        fetched = self.body.reservation.num_bytes if self.body.reservation else 0
        return fetched + (self.cloud.num_bytes if self.cloud else 0)

    def close(self) -> None:
        """Give the memory back."""
        self.held.close()


class LocalWorkers:
    """The workers of a service in this process, which its owner starts and stops. For one driver."""

    def __init__(self, service: Service, settings: Settings, *, is_background: bool = False):
        """``settings`` are those of ``service``. In the background, tiles leave the engines to requests that come,
        half of the memory, and half of the readers, unless the requests are read in other processes."""
        self._service = service
        self._is_background = is_background
        self._settings = settings
        spool_bytes = settings.spool_memory_mib * MIB or service.memory.total_bytes // SPOOL_SHARE
        self._storage = Storage(spool_bytes, settings.spool_dir, service.memory)
        self._is_stopping = False
        names = [choice.torch_device for choice in devices.choose(settings.device)]
        self._lanes = sum(settings.batches_in_flight("cpu" if name == "cpu" else "cuda") for name in names)
        self._decoders = ThreadPoolExecutor(self.capacity.decodes, "decode")
        self._labellers = ThreadPoolExecutor(self.capacity.labels, "label")

    @property
    def capacity(self) -> Capacity:
        """A tile a lane of the engines, and one a reader beside those."""
        share = 2 if self._is_background else 1
        memory_bytes = self._service.memory.total_bytes // share
        has_readers_alone = self._service.parts.counts.num_processes > 1  # requests have those of the fronts
        decodes = max(1, self._settings.readers // (1 if has_readers_alone else share))
        return Capacity(
            decodes=decodes,
            labels=self._lanes + decodes,
            points=memory_bytes // POINT_BYTES or self._settings.queue_points,
            kept_bytes=memory_bytes // KEPT_SHARE or KEPT_BYTES,
            handles=HANDLES,
        )

    def model(self, options: Options) -> Model:
        """The model that ``options`` ask for, once it is loaded."""
        self._service.wait_ready(READY_S)
        with self._request(options) as request:
            return model_of(request.card, self._settings)

    def decode(self, tile: Tile, ring_m: float, options: Options) -> "Future[DecodedTile]":
        """As ``Workers`` says."""
        return self._decoders.submit(self._decode, tile, ring_m, options)

    def label(self, tile: Tile, cloud: DecodedTile, rings: Sequence[Ring], task: Task) -> "Future[TileResult]":
        """As ``Workers`` says."""
        assert isinstance(cloud, LocalTile)
        local = [ring for ring in rings if isinstance(ring, LocalRing)]
        return self._labellers.submit(self._label, tile, cloud, local, task)

    def stop(self) -> None:
        """End all work, as ``Workers`` says; the service goes on."""
        self._is_stopping = True
        for pool in (self._decoders, self._labellers):
            pool.shutdown(cancel_futures=True)

    def _request(self, options: Options) -> AbstractContextManager[Request]:
        return self._service.stages.request(options, is_gone=self._is_gone, is_background=self._is_background)

    def _is_gone(self) -> bool:
        return self._is_stopping

    def _decode(self, tile: Tile, ring_m: float, options: Options) -> DecodedTile:
        begin = time.perf_counter()
        options = replace(options, filename=PurePosixPath(remote.shown(tile.path)).name)
        with ExitStack() as stack:
            body = stack.enter_context(files.open_local(tile, self._storage))
            with self._request(options) as request:
                try:
                    cloud, cut = self._read(tile, body, ring_m, request)
                except BadCloud:
                    _check_unchanged(tile)  # that would be why
                    if tile.num_points == 0:
                        return LocalTile(body, None, held=stack.pop_all())
                    raise
                stack.enter_context(cloud)
                with ExitStack() as of_ring:
                    ring = of_ring.enter_context(cut) if cut else None
                    _check_unchanged(tile)
                    ring_bytes = ring.num_bytes if ring else 0
                    cloud.reservation = request.memory.kept(cloud.num_bytes + ring_bytes, "The cloud")
                    if ring:
                        ring.reservation = cloud.reservation.moved(ring_bytes)
                    of_ring.pop_all()
            decode_ms = 1e3 * (time.perf_counter() - begin)
            return LocalTile(body, cloud, LocalRing(ring) if ring else None, decode_ms, stack.pop_all())

    def _read(
        self, tile: Tile, body: Body, ring_m: float, request: Request
    ) -> tuple[Packed[CloudMeta], PackedRing | None]:
        if ring_m <= 0 or tile.bounds is None:
            return self._service.stages.decode(body, request), None
        return self._service.stages.decode_with_ring(body, request, tile.bounds, ring_m)

    def _label(self, tile: Tile, decoded: LocalTile, rings: list[LocalRing], task: Task) -> TileResult:
        if decoded.cloud is None:
            return _copied(tile, decoded.body, task)
        cloud = decoded.cloud
        with ExitStack() as stack:
            request = stack.enter_context(self._request(task.options))
            begin = time.perf_counter()
            whole = stack.enter_context(self._with_context(tile, cloud, rings, task, request))
            joined = time.perf_counter()
            job = self._service.stages.submit(whole, request)
            segmentation = stack.enter_context(self._service.stages.result(job, request).segmentation)
            encode = time.perf_counter()
            file, placed = self._written(tile, decoded.body, cloud, segmentation, task, request)
            timings_ms = {"decode": decoded.decode_ms, "context": 1e3 * (joined - begin)}
            timings_ms |= segmentation.meta.timings_ms | {"encode": 1e3 * (time.perf_counter() - encode)}
            return TileResult(
                num_points=cloud.num_points,
                output=task.output,
                num_bytes=placed.num_bytes,
                sha256=placed.sha256,
                version=placed.version,
                counts=file.summary.counts,
                num_context=whole.meta.num_context,
                reference=file.summary.reference,
                agreement=file.summary.agreement,
                refined={done.step: done.changed for done in segmentation.meta.refined},
                warnings=list(dict.fromkeys([*whole.meta.warnings, *file.warnings])),
                timings_ms=timings_ms,
                worker=job.engine,
            )

    def _written(
        self,
        tile: Tile,
        body: Body,
        cloud: Packed[CloudMeta],
        segmentation: Packed[SegmentationMeta],
        task: Task,
        request: Request,
    ) -> tuple[EncodedFile, target.Written]:
        """The answer, closed, and what is in its place; a reader writes it there if that is on this machine."""
        source = body if catalog.keeps_source(task.format, cloud.meta.format) else None

        def encode(part: int | None = None) -> EncodedFile:
            return self._service.stages.encode(task.format, cloud, segmentation, request, source, part, sums_up=True)

        if remote.scheme(task.output):
            with encode() as file:
                return file, answers.place(file.chunks(), task, tile)
        with answers.appearing(task, tile) as part:
            file = encode(part)
        return file, target.Written(file.size, file.sha256)

    def _with_context(
        self, tile: Tile, cloud: Packed[CloudMeta], rings: list[LocalRing], task: Task, request: Request
    ) -> Packed[CloudMeta]:
        """The cloud with the frame of the survey and what ``rings`` hold around it; the caller's to close."""
        if not rings or tile.bounds is None:
            return Packed(os.dup(cloud.fd), cloud.layout, replace(cloud.meta, frame=task.frame))
        around = [ring.cloud for ring in rings]
        return self._service.stages.join(cloud, around, request, tile.bounds, task.buffer_m, task.frame)


def _check_unchanged(tile: Tile) -> None:
    """Raise BadCloud if a file of this machine changed; one from elsewhere was checked as it came."""
    if not remote.scheme(tile.path):
        files.check_version(tile)


def _copied(tile: Tile, body: Body, task: Task) -> TileResult:
    """The answer for a file without points."""
    if task.format == "copc" or not catalog.keeps_source(task.format, tile.format):
        raise BadCloud(f"The file has no points, and is no {task.format} that could be copied.")
    placed = answers.place(_chunks(body), task, tile)
    return TileResult(0, task.output, placed.num_bytes, placed.sha256, {}, placed.version, warnings=[EMPTY])


def _chunks(body: Body) -> Iterator[bytes]:
    for offset in range(0, body.size, COPY_BYTES):
        yield os.pread(body.fd, COPY_BYTES, offset)
