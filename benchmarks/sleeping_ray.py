"""A Ray cluster on this machine whose devices sleep. Actors stand for several of them, so that they fit here."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import numpy as np
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from app.options import Options
from app.settings import Settings
from app.survey.ray_actor import Decode, Facts, Label
from app.survey.ray_workers import RayWorkers
from app.survey.tile import Tile
from app.survey.workers import Capacity, Model, TileResult
from benchmarks.sleeping_workers import DECODE_S, MODEL, POINT_BYTES, Points, capacity_of, result

RING_BYTES = 120_000  # so many that Ray keeps it in its store, not in a message
NODE = {"num_cpus": 8, "memory": 1 << 30, "object_store_memory": 400 << 20}


class SleepingActor:
    """In place of ``RayActor``."""

    def __init__(self, num_devices: int, tile_s: float):
        self._num_devices = num_devices
        self._devices = threading.Semaphore(num_devices)
        self._tile_s = tile_s
        self._tiles: dict[str, Points] = {}

    def model(self, options: Options) -> tuple[Model, Capacity]:
        """As ``RayActor`` says."""
        return MODEL, capacity_of(self._num_devices)

    def decode(self, asked: Decode) -> tuple[Facts, np.ndarray]:
        """As ``RayActor`` says."""
        self._drop(asked.dropped)
        time.sleep(DECODE_S)
        points, key = asked.tile.num_points or 0, uuid4().hex
        self._tiles[key] = Points(points)
        return Facts(key, points, POINT_BYTES * points, points, RING_BYTES), np.zeros(RING_BYTES, np.uint8)

    def label(self, asked: Label, *rings: np.ndarray) -> TileResult:
        """As ``RayActor`` says."""
        self._drop(asked.dropped)
        with self._devices:
            time.sleep(self._tile_s)
        return result(self._tiles[asked.key], [Points(len(ring)) for ring in rings], asked.task, "node")

    def _drop(self, keys: Sequence[str]) -> None:
        for key in keys:
            del self._tiles[key]

    def stop(self) -> None:
        """Nothing is under way."""


class SleepingRay(RayWorkers):
    """``RayWorkers`` whose actors sleep; all else is theirs."""

    def __init__(self, address: str, num_devices: int, tile_s: float):
        """``num_devices`` are those of each actor."""
        self._arguments = (num_devices, tile_s)
        self.num_decoded = 0
        super().__init__(address, Settings())

    def decode(self, tile: Tile, ring_m: float, options: Options) -> Any:
        """As ``Workers`` says."""
        self.num_decoded += 1
        return super().decode(tile, ring_m, options)

    def _started(self, node: str, resources: dict[str, float], num_gpus: int) -> Any:
        capacity = capacity_of(self._arguments[0])
        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        options = {"num_cpus": 1, "num_gpus": 1, "max_concurrency": capacity.labels + capacity.decodes}
        return ray.remote(SleepingActor).options(scheduling_strategy=strategy, **options).remote(*self._arguments)


@contextmanager
def cluster(num_nodes: int, num_actors: int, num_devices: int, tile_s: float) -> Iterator[SleepingRay]:
    """Workers of ``num_nodes`` nodes, with so many actors and devices in all. Nodes say that each actor is a GPU."""
    node = {**NODE, "num_gpus": num_actors // num_nodes}
    head = {**node, "include_dashboard": False, "_system_config": {"health_check_timeout_ms": 120_000}}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(num_nodes - 1):
            found.add_node(**node)
        yield SleepingRay(found.address, num_devices // num_actors, tile_s)
    finally:
        ray.shutdown()
        found.shutdown()
