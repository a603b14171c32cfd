"""Clients in processes of their own, for services that one process of Python could not keep busy."""

import multiprocessing
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.clients import closed_loop
from benchmarks.fresh_clouds import FreshCloud, LazClouds, NpyClouds
from benchmarks.fresh_sizes import FreshSizes


@dataclass(frozen=True)
class Outcome:
    """One request: its points, the seconds until the whole answer, when that was (``time.monotonic``), whether it was
    a label for every point."""

    num_points: int
    seconds: float
    ended_s: float
    is_good: bool


class ClientProcesses:
    """``num_processes`` that have clouds, and send them."""

    def __init__(self, num_processes: int):
        spawn = multiprocessing.get_context("spawn")
        self._pools = [ProcessPoolExecutor(1, spawn) for _ in range(num_processes)]

    @property
    def pids(self) -> dict[int, str]:
        """Their process ids, and what they are."""
        return {pid: "clients" for pool in self._pools for pid in pool._processes or {}}

    def prepare(self, kind: str, points: int, card: Mapping[str, Any], most: int) -> None:
        """Have clouds of about ``points`` points, no two of one size; of LAZ ``most`` in all."""
        each = max(2, most // len(self._pools))
        self._all(_prepare, (kind, points, dict(card), each))

    def load(self, url: str, num_clients: int, seconds: float) -> tuple[list[Outcome], float]:
        """What ``num_clients`` in a closed loop get for ``seconds``; and when the first process had no clouds left, or
        the time was over."""
        each = max(1, num_clients // len(self._pools))
        parts = self._all(_load, (url, each, seconds))
        return [outcome for outcomes, _ in parts for outcome in outcomes], min(end_s for _, end_s in parts)

    def _all(self, call: Any, arguments: tuple[Any, ...]) -> list[Any]:
        count = len(self._pools)
        asked: list[Future[Any]] = [
            pool.submit(call, place, count, *arguments) for place, pool in enumerate(self._pools)
        ]
        return [each.result() for each in asked]

    def close(self) -> None:
        """End them."""
        for pool in self._pools:
            pool.shutdown()


class _Clouds:
    """What one process sends. LAZ begin anew with each load, which a service that was just started has not seen."""

    def __init__(self, place: int, count: int, kind: str, points: int, card: Mapping[str, Any], most: int):
        self._sizes = FreshSizes(place, count)
        self._npy = NpyClouds(points, card, self._sizes) if kind == "npy" else None
        self._laz: list[FreshCloud] = []
        if kind == "laz":
            made = LazClouds(points, card, self._sizes, most)
            self._laz = list(iter(made.take, None))
        self._lock = threading.Lock()
        self.begin(float("inf"))

    def begin(self, end_s: float) -> None:
        """A load begins, which ends at ``end_s``."""
        self.end_s, self._left = end_s, iter(self._laz)

    def take(self) -> FreshCloud | None:
        """The next cloud."""
        if self._npy:
            return self._npy.take()
        with self._lock:
            cloud = next(self._left, None)
            if cloud is None:
                self.end_s = min(self.end_s, time.monotonic())
            return cloud


_clouds: dict[tuple[str, int, str], _Clouds] = {}
_chosen: list[_Clouds] = []


def _prepare(place: int, count: int, kind: str, points: int, card: Mapping[str, Any], most: int) -> None:
    key = (kind, points, card["name"])
    if key not in _clouds:
        _clouds[key] = _Clouds(place, count, kind, points, card, most)
    _chosen[:] = [_clouds[key]]


def _load(place: int, count: int, url: str, num_clients: int, seconds: float) -> tuple[list[Outcome], float]:
    (clouds,) = _chosen
    clouds.begin(time.monotonic() + seconds)
    answers = closed_loop(url, clouds.take, num_clients, seconds)
    outcomes = [
        Outcome(answer.cloud.num_points, answer.seconds, answer.ended_s, answer.checksum is not None)
        for answer in answers
    ]
    return outcomes, clouds.end_s
