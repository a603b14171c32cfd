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

from app.clouds.strips import Window
from app.options import Options
from app.settings import Settings
from app.survey.ray_actor import STRIP_THREADS, STRIPS, Decode, Facts, Label, RayActor, fetched
from app.survey.ray_workers import RayWorkers, options_of_actor
from app.survey.tile import Tile
from app.survey.workers import Capacity, Model, TileResult
from benchmarks.sleeping_workers import DECODE_S, MODEL, RING_SHARE, Points, capacity_of, result

STRIP_BYTES = 120_000  # so many that Ray keeps it in its store, not in a message
NODE = {"num_cpus": 8, "memory": 1 << 30, "object_store_memory": 400 << 20}


class SleepingActor(RayActor):
    """``RayActor`` without a service; messages, and strips between actors, are its own."""

    def __init__(self, name: str, num_devices: int, tile_s: float):
        self._name = name
        self._num_devices = num_devices
        self._devices = threading.Semaphore(num_devices)
        self._tile_s = tile_s
        self._points: dict[str, Points] = {}

    def model(self, options: Options) -> tuple[Model, Capacity]:
        """As ``RayActor`` says."""
        return MODEL, capacity_of(self._num_devices)

    def decode(self, asked: Decode) -> Facts:
        """As ``RayActor`` says."""
        time.sleep(DECODE_S)
        num_points = asked.tile.num_points or 0
        return self._facts(num_points, self._facts(num_points // RING_SHARE))

    def _facts(self, num_points: int, ring: Facts | None = None) -> Facts:
        key, points = uuid4().hex, Points(num_points)
        self._points[key] = points
        return Facts(key, num_points, points.num_bytes, ring)

    def label(self, asked: Label) -> TileResult:
        """As ``RayActor`` says."""
        others = fetched([ring for ring in asked.rings if ring[0] != self._name], (0.0, 0.0, 0.0, 0.0))
        rings = [Points(len(strip)) for _, strip in others]
        with self._devices:
            time.sleep(self._tile_s)
        return result(self._points[asked.key], rings, asked.task, "node")

    @ray.method(concurrency_group=STRIPS)
    def strips(self, keys: Sequence[str], window: Window) -> list[np.ndarray]:
        """As ``RayActor`` says."""
        return [np.zeros(STRIP_BYTES, np.uint8) for key in keys if self._points[key]]

    def drop(self, keys: Sequence[str]) -> None:
        """As ``RayActor`` says."""
        for key in keys:
            del self._points[key]

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

    def _started(self, name: str, node: str, resources: dict[str, float], num_gpus: int) -> Any:
        capacity = capacity_of(self._arguments[0])
        options = options_of_actor(name, node) | {"num_gpus": 1, "max_concurrency": capacity.labels + capacity.decodes}
        actor = ray.remote(concurrency_groups={STRIPS: STRIP_THREADS})(SleepingActor)
        return actor.options(**options).remote(name, *self._arguments)


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
