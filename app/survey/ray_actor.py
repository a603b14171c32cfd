"""A worker of a Ray cluster: the readers and engines of a ``Service``, in an actor of a node."""

import logging
import pickle
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import RayError

from app.clouds import strips
from app.clouds.cloud import Cloud
from app.clouds.strips import Window
from app.engine.packed import PackedRing, pack_cloud, unpack_cloud
from app.engine.service import Service
from app.errors import NotReady, Problem
from app.options import Options
from app.settings import Settings
from app.survey.local import LocalRing, LocalTile, LocalWorkers
from app.survey.tile import Tile
from app.survey.workers import Capacity, Model, Task, TileResult

NAMESPACE = "pointserve"  # of the names of actors
STRIPS = "strips"  # threads of their own give strips, so that nobody waits for those who wait for some
STRIP_THREADS = 8
RETRY_S = 0.1  # until what a node had that is gone is decoded again
GONE = "A node that had a neighbour is gone."


@dataclass(frozen=True)
class Facts:
    """What the driver learns of a tile that an actor decoded and keeps as ``key``, or of its ring."""

    key: str
    num_points: int
    num_bytes: int
    ring: "Facts | None" = None


@dataclass(frozen=True)
class Decode:
    """What the driver says to have a tile decoded; ``dropped`` are keys of tiles and rings that the actor need not
    keep any more."""

    tile: Tile
    ring_m: float
    options: Options
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Label:
    """What it says to have the tile labelled that is kept as ``key``, with ``rings``; ``dropped`` as for ``Decode``.

    Of each ring it names the actor that keeps it, and its key there.
    """

    tile: Tile
    key: str
    rings: tuple[tuple[str, str], ...]
    task: Task
    dropped: tuple[str, ...] = ()


class RayActor:
    """The class of the actors; Ray calls its methods in threads. What ends in a Problem returns it.

    Problems are returned, not raised, since Ray wraps what is raised into exceptions of its own. Actors keep what they
    decode, and fetch from each other what a tile needs of the rings around it; the driver sees no points.
    """

    def __init__(self, name: str, settings: Settings):
        """Start a service with ``settings``; ``model`` waits until it is ready. Other actors find this by ``name``."""
        logging.basicConfig(level=settings.log_level.upper())
        self._name = name
        self._service = Service(settings)
        self._service.start()
        self._workers = LocalWorkers(self._service, settings)
        self._tiles: dict[str, LocalTile] = {}
        self._rings: dict[str, LocalRing] = {}

    def model(self, options: Options) -> tuple[Model, Capacity] | Problem:
        """The model that ``options`` ask for once it is loaded, and how much this actor takes."""
        try:
            return self._workers.model(options), self._workers.capacity
        except Problem as problem:
            return problem

    def ask(self, message: bytes) -> bytes:
        """Do what a ``Decode`` or ``Label`` asks for, and say what came of it, both pickled.

        Ray takes bytes as they are; to turn objects into them takes it, and so the driver, three times as long.
        """
        asked: Decode | Label = pickle.loads(message)
        self.drop(asked.dropped)
        return pickle.dumps(self.decode(asked) if isinstance(asked, Decode) else self.label(asked))

    def decode(self, asked: Decode) -> Facts | Problem:
        """Decode a tile, and keep it and its ring."""
        try:
            decoded: LocalTile = _done(self._workers.decode(asked.tile, asked.ring_m, asked.options))
        except Problem as problem:
            return problem
        ring = None
        if decoded.ring:
            ring = Facts(uuid4().hex, decoded.ring.num_points, decoded.ring.num_bytes)
            self._rings[ring.key] = decoded.ring
        facts = Facts(uuid4().hex, decoded.num_points, decoded.num_bytes, ring)
        self._tiles[facts.key] = decoded
        return facts

    def label(self, asked: Label) -> TileResult | Problem:
        """Label a tile with what the rings have around it, and put the answer into its place."""
        decoded = self._tiles[asked.key]
        try:
            with ExitStack() as stack:
                rings = self._around(asked, decoded, stack)
                result: TileResult = _done(self._workers.label(asked.tile, decoded, rings, asked.task))
            return replace(result, worker=f"{socket.gethostname()} {result.worker}")
        except Problem as problem:
            return problem

    def _around(self, asked: Label, decoded: LocalTile, stack: ExitStack) -> list[LocalRing]:
        """The rings of a tile in their order; of those that others keep what it needs, which ``stack`` closes."""
        if decoded.cloud is None or asked.tile.bounds is None:
            return []
        window = strips.window(asked.tile.bounds, asked.task.buffer_m, decoded.cloud.meta.units)
        others = {}
        for key, strip in fetched([ring for ring in asked.rings if ring[0] != self._name], window):
            packed = stack.enter_context(pack_cloud(strip))
            others[key] = LocalRing(PackedRing(packed.fd, packed.layout, packed.meta))
        return [others.get(key) or self._rings[key] for _, key in asked.rings]

    @ray.method(concurrency_group=STRIPS)
    def strips(self, keys: Sequence[str], window: Window) -> list[Cloud]:
        """What the rings kept as ``keys`` have in ``window``."""
        rings = [self._rings[key].cloud for key in keys]
        return [strips.within(unpack_cloud(ring), window, ring.inner) for ring in rings]

    def drop(self, keys: Sequence[str]) -> None:
        """Give the memory of tiles and rings back."""
        for key in keys:
            (self._tiles.pop(key, None) or self._rings.pop(key)).close()

    def stop(self) -> None:
        """End all work, and the processes."""
        self._workers.stop()
        self._service.stop(0.0)


@cache
def _actor(name: str) -> Any:
    try:
        return ray.get_actor(name, NAMESPACE)
    except ValueError as error:  # nobody has the name any more
        raise NotReady(GONE, retry_after_s=RETRY_S) from error


def fetched(rings: Sequence[tuple[str, str]], window: Window) -> Iterator[tuple[str, Any]]:
    """Key, and what ``RayActor.strips`` gives of it in ``window``, for each of ``rings``, names of actors and keys.

    NotReady if one of the actors is gone.
    """
    keys: dict[str, list[str]] = {}
    for name, key in rings:
        keys.setdefault(name, []).append(key)
    asked = [_actor(name).strips.remote(each, window) for name, each in keys.items()]
    for each, ref in zip(keys.values(), asked, strict=True):
        try:
            found = ref.future().result()  # get would begin anew whenever a call of this actor ends
        except RayError as error:
            raise NotReady(GONE, retry_after_s=RETRY_S) from error
        yield from zip(each, found, strict=True)


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
