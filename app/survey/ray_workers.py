"""Workers in a Ray cluster: an actor for every GPU of its nodes, or for every node without one.

Each actor is a service as ``LocalWorkers`` uses it, so answers are the same bytes. A tile is labelled where it was
decoded; rings travel through Ray's object store. Nodes must see sources, answers and models under the paths of the
driver, and run the same program.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from functools import lru_cache
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from app.errors import BadModel, NotReady, Problem
from app.options import Options
from app.settings import MIB, Settings
from app.survey.ray_actor import Decode, Facts, Label, RayActor
from app.survey.tile import Tile
from app.survey.workers import Capacity, DecodedTile, Model, Ring, Task, TileResult, WorkerLost

THREADS = 64  # of an actor: calls that it has at once
LOOK_S = 10.0  # between two looks for nodes that are new
MEMORY_SHARE = 0.8  # of what a node says that it has, for the actors there
WAIT_S = 600.0  # for a node
RETRY_S = 0.1  # until a tile whose node is gone is decoded again
LOST = "The worker that had the tile ended: {error}"

log = logging.getLogger(__name__)


@dataclass(eq=False)
class RayRing:
    """A ring in the object store."""

    num_points: int
    num_bytes: int
    ref: Any

    def close(self) -> None:
        """Let go of it."""
        self.ref = None


@dataclass(eq=False)
class RayTile:
    """A decoded tile that an actor keeps."""

    worker: "_Worker"
    facts: Facts
    ring: RayRing | None
    is_closed: bool = False

    @property
    def num_points(self) -> int:
        """Points of the tile."""
        return self.facts.num_points

    @property
    def num_bytes(self) -> int:
        """What the tile takes in the actor."""
        return self.facts.num_bytes

    def close(self) -> None:
        """Have the actor give the memory back with what it is asked next."""
        if not self.is_closed:
            self.is_closed = True
            self.worker.dropped.append(self.facts.key)


@dataclass(eq=False)
class _Worker:
    """An actor, its node, what it takes, the bytes of tiles that it keeps or is decoding, keys of those it may drop."""

    actor: Any
    node: str
    capacity: Capacity | None = None
    load: int = 0
    dropped: deque[str] = field(default_factory=deque)

    def taken_dropped(self) -> tuple[str, ...]:
        """Keys of tiles that are not needed any more, each once."""
        keys = []
        with suppress(IndexError):
            while True:
                keys.append(self.dropped.popleft())
        return tuple(keys)


class RayWorkers:
    """The actors of one driver, which the cluster has until ``stop``."""

    def __init__(self, address: str, settings: Settings):
        """Connect to the cluster at ``address``, "auto" or ray://HOST:PORT; NotReady if it does not answer."""
        self._settings = settings
        self._workers: dict[Any, _Worker] = {}  # by node and number of the GPU
        self._lock = threading.Lock()
        self._looked_s = float("-inf")
        self._model: Model | None = None
        self._options: Options | None = None
        try:
            ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise NotReady(f"No Ray cluster answers at {address}: {error}") from error

    @property
    def capacity(self) -> Capacity:
        """The sum of what the actors take; nodes that are new get actors meanwhile."""
        self._look()
        return _sum(tuple(worker.capacity for worker in self._all() if worker.capacity))

    def model(self, options: Options) -> Model:
        """The model that ``options`` ask for, once every node has loaded it; BadModel if they have several."""
        self._options = options
        until = time.monotonic() + WAIT_S
        while True:
            self._look(is_due=True)
            for worker in self._all():
                self._greet(worker)
            if self._model:
                return self._model
            if time.monotonic() > until:
                raise NotReady("The Ray cluster has no node that could label tiles.")
            time.sleep(1.0)

    def decode(self, tile: Tile, ring_m: float, options: Options) -> "Future[DecodedTile]":
        """As ``Workers`` says."""
        ready = [worker for worker in self._all() if worker.capacity]
        if not ready:
            return _failed(NotReady("No node of the Ray cluster is ready."))
        worker = min(ready, key=lambda each: each.load)
        worker.load += tile.num_bytes
        asked = Decode(tile, ring_m, options, worker.taken_dropped())
        facts_ref, ring_ref = worker.actor.decode.options(num_returns=2).remote(asked)

        def finish(facts: Facts) -> DecodedTile:
            has_ring = facts.ring_points is not None
            ring = RayRing(facts.ring_points or 0, facts.ring_bytes, ring_ref) if has_ring else None
            return RayTile(worker, facts, ring)

        return self._future(worker, facts_ref, finish, tile.num_bytes)

    def label(self, tile: Tile, cloud: DecodedTile, rings: Sequence[Ring], task: Task) -> "Future[TileResult]":
        """As ``Workers`` says."""
        assert isinstance(cloud, RayTile)
        worker = cloud.worker
        if worker not in self._all():
            return _failed(NotReady("The node that had the tile is gone.", retry_after_s=RETRY_S))
        worker.load += tile.num_bytes
        refs = [ring.ref for ring in rings if isinstance(ring, RayRing)]
        asked = Label(tile, cloud.facts.key, task, worker.taken_dropped())
        result_ref = worker.actor.label.remote(asked, *refs)
        return self._future(worker, result_ref, lambda result: result, tile.num_bytes)

    def stop(self) -> None:
        """End all work and the actors; the connection to the cluster stays, as others may use it."""
        workers, self._workers = self._all(), {}
        stopped = [worker.actor.stop.remote() for worker in workers]
        if stopped:
            ray.wait(stopped, num_returns=len(stopped), timeout=10.0)
        for worker in workers:
            ray.kill(worker.actor)

    def _all(self) -> list[_Worker]:
        with self._lock:
            return list(self._workers.values())

    def _look(self, is_due: bool = False) -> None:
        """Give every GPU of every node an actor, and every node without one; forget nodes that are gone."""
        now = time.monotonic()
        if not is_due and now - self._looked_s < LOOK_S:
            return
        self._looked_s = now
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        alive = {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}
        for node, resources in alive.items():
            num_gpus = int(resources.get("GPU", 0))
            for number in range(max(1, num_gpus)):
                if (node, number) not in self._workers and resources.get("CPU", 0) >= 1:
                    worker = _Worker(self._started(node, resources, num_gpus), node)
                    with self._lock:
                        self._workers[node, number] = worker
                    if self._model:
                        threading.Thread(target=self._greet, args=(worker,), daemon=True).start()
        for place in [place for place in self._workers if place[0] not in alive]:
            self._forget(self._workers[place])

    def _started(self, node: str, resources: dict[str, float], num_gpus: int) -> Any:
        share = max(1, num_gpus)
        memory_mib = int(MEMORY_SHARE * resources.get("memory", 0.0) / share) // MIB
        settings = self._settings.model_copy(
            update={
                "device": "cuda" if num_gpus else "cpu",
                "threads": 0 if num_gpus else int(resources["CPU"]),
                "memory_mib": self._settings.memory_mib or memory_mib,
            }
        )
        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        actor = ray.remote(RayActor).options(
            num_cpus=1, num_gpus=min(1, num_gpus), max_concurrency=THREADS, scheduling_strategy=strategy
        )
        return actor.remote(settings)

    def _greet(self, worker: _Worker) -> None:
        """Wait until an actor has loaded its model; one with another model than the first gets no tile."""
        if worker.capacity:
            return
        try:
            answer = ray.get(worker.actor.model.remote(self._options))
        except RayError as error:
            log.warning("node %s: %s", worker.node, error)
            self._forget(worker)
            return
        if isinstance(answer, Problem):
            raise answer
        model, capacity = answer
        if self._model and self._model.digest != model.digest:
            raise BadModel(f"Node {worker.node} has another model named {model.name}, or other settings.")
        self._model, worker.capacity = model, capacity

    def _forget(self, worker: _Worker) -> None:
        """Give ``worker`` no more tiles; its node gets another one at the next look, if it is still there."""
        with self._lock:
            places = [place for place, each in self._workers.items() if each is worker]
            for place in places:
                del self._workers[place]
                self._looked_s = float("-inf")

    def _future(self, worker: _Worker, ref: Any, finish: Callable[[Any], Any], num_bytes: int) -> "Future[Any]":
        """What ``finish`` makes of the answer ``ref``; a Problem if that is one, WorkerLost if there is none."""
        outcome: Future[Any] = Future()

        def done(answered: "Future[Any]") -> None:
            worker.load -= num_bytes
            try:
                answer = answered.result()
                if isinstance(answer, Problem):
                    raise answer
                outcome.set_result(finish(answer))
            except RayError as error:
                if isinstance(error, RayActorError):
                    self._forget(worker)
                outcome.set_exception(WorkerLost(LOST.format(error=type(error).__name__)))
            except BaseException as error:
                outcome.set_exception(error)

        ref.future().add_done_callback(done)
        return outcome


@lru_cache(maxsize=1)  # the driver asks several times for each tile
def _sum(parts: tuple[Capacity, ...]) -> Capacity:
    return Capacity(*(max(1, sum(values)) for values in zip(*map(astuple, parts), strict=True))) if parts else NONE


NONE = Capacity(decodes=1, labels=1, points=1, kept_bytes=1)  # what a cluster without a ready node is asked for


def _failed(problem: Problem) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_exception(problem)
    return future
