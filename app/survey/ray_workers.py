"""Workers in a Ray cluster: an actor for every GPU of its nodes, or for every node without one.

Each actor is a service as ``LocalWorkers`` uses it, so answers are the same bytes. A tile is labelled where it was
decoded; actors fetch strips of its neighbours from each other. Nodes must see sources, answers and models under the
paths of the driver, and run the same program.
"""

import logging
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from app.errors import BadModel, NotReady, Problem
from app.options import Options
from app.settings import MIB, Settings
from app.survey.local import readers_for
from app.survey.ray_actor import NAMESPACE, RETRY_S, STRIP_THREADS, STRIPS, Decode, Facts, Label, RayActor
from app.survey.tile import Tile
from app.survey.workers import Capacity, DecodedTile, Model, Ring, Task, TileResult, WorkerLost

THREADS = 64  # of an actor: calls that it has at once
LOOK_S = 10.0  # between two looks for nodes that are new
MEMORY_SHARE = 0.8  # of what a node says that it has, for the actors there
WAIT_S = 600.0  # for a node
NONE = Capacity(
    decodes=1, labels=1, points=1, kept_bytes=1, handles=1
)  # what is asked of a cluster without a ready node
LOST = "The worker that had the tile ended: {error}"
GONE = "The node that had the tile is gone."

log = logging.getLogger(__name__)


@dataclass(eq=False)
class RayHandle:
    """A decoded tile or a ring that an actor keeps."""

    worker: "_Worker"
    facts: Facts
    is_closed: bool = False

    @property
    def num_points(self) -> int:
        """Points of it."""
        return self.facts.num_points

    @property
    def num_bytes(self) -> int:
        """What it takes in the actor."""
        return self.facts.num_bytes

    @cached_property
    def ring(self) -> "RayHandle | None":
        """Of a tile, its points along the border."""
        return RayHandle(self.worker, self.facts.ring) if self.facts.ring else None

    def close(self) -> None:
        """Have the actor give the memory back with what it is asked next."""
        if not self.is_closed:
            self.is_closed = True
            self.worker.dropped.append(self.facts.key)


@dataclass(eq=False)
class _Worker:
    """An actor, its name, its node, what it takes, the bytes of tiles that it works on, keys of what it may drop."""

    actor: Any
    name: str
    node: str
    capacity: Capacity | None = None
    load: int = 0
    dropped: deque[str] = field(default_factory=deque)

    def taken_dropped(self) -> tuple[str, ...]:
        """Keys of tiles and rings that are not needed any more, each once."""
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
        self._capacity = NONE
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
        return self._capacity

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
        asked = Decode(tile, ring_m, options, worker.taken_dropped())
        return self._asked(worker, asked, lambda facts: RayHandle(worker, facts))

    def label(self, tile: Tile, cloud: DecodedTile, rings: Sequence[Ring], task: Task) -> "Future[TileResult]":
        """As ``Workers`` says."""
        assert isinstance(cloud, RayHandle)
        worker = cloud.worker
        if worker not in self._all():
            return _failed(NotReady(GONE, retry_after_s=RETRY_S))
        around = tuple((ring.worker.name, ring.facts.key) for ring in rings if isinstance(ring, RayHandle))
        asked = Label(tile, cloud.facts.key, around, task, worker.taken_dropped())
        return self._asked(worker, asked, lambda result: result)

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
                    name = uuid4().hex
                    worker = _Worker(self._started(name, node, resources, num_gpus), name, node)
                    with self._lock:
                        self._workers[node, number] = worker
                    if self._model:
                        threading.Thread(target=self._greet, args=(worker,), daemon=True).start()
        for place in [place for place in self._workers if place[0] not in alive]:
            self._forget(self._workers[place])

    def _started(self, name: str, node: str, resources: dict[str, float], num_gpus: int) -> Any:
        share = max(1, num_gpus)
        memory_mib = int(MEMORY_SHARE * resources.get("memory", 0.0) / share) // MIB
        num_readers = readers_for(int(resources["CPU"]) // share)
        settings = self._settings.model_copy(
            update={
                "readers": self._settings.readers if "readers" in self._settings.model_fields_set else num_readers,
                "device": "cuda" if num_gpus else "cpu",
                "threads": 0 if num_gpus else int(resources["CPU"]),
                "memory_mib": self._settings.memory_mib or memory_mib,
            }
        )
        options = options_of_actor(name, node) | {"num_gpus": min(1, num_gpus)}
        groups: dict[str, Any] = {"concurrency_groups": {STRIPS: STRIP_THREADS}}
        return ray.remote(**groups)(RayActor).options(**options).remote(name, settings)

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
        self._add_up()

    def _add_up(self) -> None:
        """Sum up what the actors take, which the driver asks for several times for each tile."""
        ready = [astuple(worker.capacity) for worker in self._all() if worker.capacity]
        self._capacity = Capacity(*(max(1, sum(each)) for each in zip(*ready, strict=True))) if ready else NONE

    def _forget(self, worker: _Worker) -> None:
        """Give ``worker`` no more tiles; its node gets another one at the next look, if it is still there."""
        with self._lock:
            places = [place for place, each in self._workers.items() if each is worker]
            for place in places:
                del self._workers[place]
                self._looked_s = float("-inf")
        self._add_up()

    def _asked(self, worker: _Worker, asked: Decode | Label, finish: Callable[[Any], Any]) -> "Future[Any]":
        """What ``finish`` makes of the answer; a Problem if that is one, WorkerLost if there is none."""
        outcome: Future[Any] = Future()
        worker.load += asked.tile.num_bytes

        def done(answered: "Future[bytes]") -> None:
            worker.load -= asked.tile.num_bytes
            try:
                answer = pickle.loads(answered.result())
                if isinstance(answer, Problem):
                    raise answer
                outcome.set_result(finish(answer))
            except RayError as error:
                if isinstance(error, RayActorError):
                    self._forget(worker)
                outcome.set_exception(_loss(worker, error))
            except BaseException as error:
                outcome.set_exception(error)

        worker.actor.ask.remote(pickle.dumps(asked)).future().add_done_callback(done)
        return outcome


def options_of_actor(name: str, node: str) -> dict[str, Any]:
    """How Ray is to run an actor: on ``node``, found by others by its ``name``.

    Ray takes no notes of calls, which the manifest does.
    """
    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    place = {"num_cpus": 1, "scheduling_strategy": strategy, "max_concurrency": THREADS}
    return {"name": name, "namespace": NAMESPACE, "enable_task_events": False, **place}


def _loss(worker: _Worker, error: RayError) -> Problem:
    """What a tile ended with whose worker ended; none is blamed for the loss of a node."""
    with suppress(RayError, RuntimeError):  # the cluster itself is gone
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        if any(node["Alive"] for node in nodes if node["NodeID"] == worker.node):
            return WorkerLost(LOST.format(error=type(error).__name__))
    return NotReady(GONE, retry_after_s=RETRY_S)


def _failed(problem: Problem) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_exception(problem)
    return future
