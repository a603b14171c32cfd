"""A worker of a Ray cluster: the readers and engines of a ``Service``, in an actor of a node."""

import logging
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from app.clouds.cloud import Cloud
from app.engine.packed import pack_cloud, unpack_cloud
from app.engine.service import Service
from app.errors import NotReady, Problem
from app.options import Options
from app.settings import Settings
from app.survey.local import LocalRing, LocalTile, LocalWorkers
from app.survey.tile import Tile
from app.survey.workers import Capacity, Model, Task, TileResult


@dataclass(frozen=True)
class Facts:
    """What the driver learns of a tile that an actor decoded, which keeps it as ``key``.

    ``ring_points`` is None if there is no ring.
    """

    key: str
    num_points: int
    num_bytes: int
    ring_points: int | None = None
    ring_bytes: int = 0


@dataclass(frozen=True)
class Decode:
    """What the driver says to have a tile decoded: one argument, which costs it less than several.

    ``dropped`` are keys of tiles that the actor need not keep any more.
    """

    tile: Tile
    ring_m: float
    options: Options
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Label:
    """What it says to have the tile labelled that is kept as ``key``; ``dropped`` as for ``Decode``."""

    tile: Tile
    key: str
    task: Task
    dropped: tuple[str, ...] = ()


class RayActor:
    """The class of the actors; Ray calls its methods in threads. What ends in a Problem returns it.

    Problems are returned, not raised, since Ray wraps what is raised into exceptions of its own.
    """

    def __init__(self, settings: Settings):
        """Start a service with ``settings``; ``model`` waits until it is ready."""
        logging.basicConfig(level=settings.log_level.upper())
        self._service = Service(settings)
        self._service.start()
        self._workers = LocalWorkers(self._service, settings)
        self._tiles: dict[str, LocalTile] = {}

    def model(self, options: Options) -> tuple[Model, Capacity] | Problem:
        """The model that ``options`` ask for once it is loaded, and how much this actor takes."""
        try:
            return self._workers.model(options), self._workers.capacity
        except Problem as problem:
            return problem

    def decode(self, asked: Decode) -> tuple[Facts | Problem, Cloud | None]:
        """Decode a tile and keep it; what it is, and its ring, which the driver keeps."""
        self._drop(asked.dropped)
        try:
            decoded = _done(self._workers.decode(asked.tile, asked.ring_m, asked.options))
        except Problem as problem:
            return problem, None
        key = uuid4().hex
        self._tiles[key] = decoded
        facts = Facts(key, decoded.num_points, decoded.num_bytes)
        if decoded.ring is None:
            return facts, None
        ring = unpack_cloud(decoded.ring.cloud)
        facts = replace(facts, ring_points=decoded.ring.num_points, ring_bytes=decoded.ring.num_bytes)
        decoded.ring.close()  # the arrays of the ring keep its memory until Ray has copied them
        return facts, ring

    def label(self, asked: Label, *rings: Cloud) -> TileResult | Problem:
        """Label the tile kept as ``asked.key`` with ``rings`` around it, and put the answer into its place."""
        self._drop(asked.dropped)
        packed: list[LocalRing] = []
        try:
            packed += [LocalRing(pack_cloud(ring)) for ring in rings]
            result: TileResult = _done(self._workers.label(asked.tile, self._tiles[asked.key], packed, asked.task))
            return replace(result, worker=f"{socket.gethostname()} {result.worker}")
        except Problem as problem:
            return problem
        finally:
            for ring in packed:
                ring.close()

    def _drop(self, keys: Sequence[str]) -> None:
        """Give the memory of tiles back."""
        for key in keys:
            self._tiles.pop(key).close()

    def stop(self) -> None:
        """End all work, and the processes."""
        self._workers.stop()
        self._service.stop(0.0)


def _done(future: "Future[Any]") -> Any:
    """The result of ``future``; NotReady if it was cancelled, because the actor is being stopped."""
    try:
        return future.result()
    except Problem:
        raise
    except BaseException as error:
        if future.cancelled():
            raise NotReady("The worker is being stopped.") from None
        raise Problem(f"{type(error).__name__}: {error}") from error
