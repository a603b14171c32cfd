"""Workers of a survey whose devices sleep in place of networks, and tiles that have no points."""

import heapq
import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from app.options import Options
from app.survey.local import HANDLES
from app.survey.tile import Tile
from app.survey.workers import Capacity, DecodedTile, Model, Ring, Task, TileResult

LANES, READERS = 4, 4  # of a device
DECODE_S = 0.4
POINT_BYTES = 40  # of a decoded tile
RING_SHARE = 4
MEMORY_BYTES = 64 << 30  # of the workers of a device
TILE_POINT_BYTES = 1000  # of one that is labelled, as LocalWorkers count them
CLASSES = [{"id": 0, "name": "ground", "color": [1, 2, 3], "asprs": 2}, {"id": 1, "name": "other", "color": [9, 9, 9]}]
MODEL = Model("sleep", "1", CLASSES, halo_m=32.0)


@dataclass(eq=False)
class Points:
    """A decoded tile or a ring, without its points."""

    num_points: int
    ring: "Points | None" = None

    @property
    def num_bytes(self) -> int:
        """What it would take."""
        return POINT_BYTES * self.num_points

    def close(self) -> None:
        """Nothing is held."""


class Later:
    """Futures that end at their times, by a thread of its own."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Future, object]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def at(self, due_s: float, result: object) -> Future:
        """One that has ``result`` at ``due_s`` of ``time.monotonic``."""
        future: Future = Future()
        with self._changed:
            heapq.heappush(self._due, (due_s, next(self._numbers), future, result))
            if self._due[0][2] is future:
                self._changed.notify()
        return future

    def _run(self) -> None:
        while True:
            with self._changed:
                wait_s = self._due[0][0] - time.monotonic() if self._due else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                _, _, future, result = heapq.heappop(self._due)
            future.set_result(result)


class SleepingWorkers:
    """``Workers`` of ``num_devices`` devices, each of which labels one tile after the other."""

    def __init__(self, num_devices: int, tile_s: float):
        self._tile_s = tile_s if num_devices else 0.0
        self._decode_s = DECODE_S if num_devices else 0.0
        self._later = Later()
        self._free_s = [0.0] * max(1, num_devices)
        self.num_decoded = 0
        self.capacity = capacity_of(len(self._free_s))

    def model(self, options: Options) -> Model:
        """One of two classes."""
        return MODEL

    def decode(self, tile: Tile, ring_m: float, options: Options) -> "Future[DecodedTile]":
        """Ends a while later."""
        self.num_decoded += 1
        points = tile.num_points or 0
        return self._later.at(time.monotonic() + self._decode_s, Points(points, Points(points // RING_SHARE)))

    def label(self, tile: Tile, cloud: DecodedTile, rings: Sequence[Ring], task: Task) -> "Future[TileResult]":
        """Ends when the device that is free first has slept for it."""
        now = time.monotonic()
        first = min(range(len(self._free_s)), key=self._free_s.__getitem__)
        self._free_s[first] = max(now, self._free_s[first]) + self._tile_s
        return self._later.at(self._free_s[first], result(cloud, rings, task, f"cuda:{first}"))

    def stop(self) -> None:
        """Nothing is under way."""


def capacity_of(num_devices: int) -> Capacity:
    """What so many devices take, with readers and memory."""
    decodes, memory_bytes = READERS * num_devices, MEMORY_BYTES * num_devices
    labels, points = LANES * num_devices + decodes, memory_bytes // TILE_POINT_BYTES
    return Capacity(decodes, labels, points, memory_bytes // 4, HANDLES * num_devices)


def result(cloud: DecodedTile, rings: Sequence[Ring], task: Task, worker: str) -> TileResult:
    """The answer of no file, with warnings that differ by tile."""
    points = cloud.num_points
    warnings = [f"{len(task.output) + len(rings)} points lie outside the range of the file: they are left out."]
    return TileResult(
        points,
        task.output,
        9_000_000,
        "ab" * 32,
        {0: points // 2, 1: points - points // 2},
        num_context=sum(ring.num_points for ring in rings),
        reference="classification",
        agreement=[(2, 0, points // 2), (5, 1, points - points // 2)],
        warnings=warnings,
        timings_ms={"decode": 400.0, "features": 20.0, "voxelize": 4.0, "network": 80.0, "encode": 300.0},
        worker=worker,
    )
