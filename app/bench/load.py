"""Many clients of one service: in a closed loop, or at a rate that does not wait for answers."""

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pointserve_client import Client, OnWait, Prediction, Problem

from app.bench.clouds import BenchCloud


@dataclass(frozen=True)
class RequestSample:
    """One request: the seconds until its whole answer, counted from when it was due, the status, and the content of a
    good answer.

    ``is_right`` says whether the answer equals the one that this cloud got before the load. ``ended`` is when it was
    whole, in seconds of ``time.monotonic``.
    """

    label: str
    seconds: float
    status: int
    num_points: int = 0
    is_right: bool = True
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    ended: float = field(default_factory=time.monotonic)


class LoadLimit:
    """The end of a load: after a number of seconds or of requests, or by a call. For any number of threads."""

    def __init__(self, seconds: float, num_requests: int | None):
        self._end_s = time.monotonic() + seconds
        self._left = num_requests
        self._lock = threading.Lock()
        self._over = threading.Event()

    def take(self) -> bool:
        """Whether there may be one request more, which is counted."""
        with self._lock:
            if self._over.is_set() or time.monotonic() >= self._end_s or self._left == 0:
                self._over.set()
                return False
            self._left = self._left - 1 if self._left is not None else None
            return True

    def sleep(self, seconds: float) -> bool:
        """Wait, at most to the end; whether that is not yet there."""
        return not self._over.wait(min(seconds, max(0.0, self._end_s - time.monotonic())))

    def stop(self) -> None:
        """End the load: no request is sent any more."""
        self._over.set()


class Load:
    """Requests for ``clouds``; ``samples`` grows while it runs. Before the load each cloud is sent once, patiently;
    ``on_wait`` is called for every wait."""

    def __init__(
        self, url: str, key: str, clouds: Sequence[BenchCloud], on_wait: OnWait = lambda problem, wait_s: None
    ):
        self.samples: list[RequestSample] = []
        self._client = Client(url, key, patience_s=0.0)
        self._clouds = clouds
        with Client(url, key, on_wait=on_wait) as patient:
            self._expected = [_predicted(patient, cloud).labels for cloud in clouds]

    def closed(self, num_clients: int, limit: LoadLimit) -> None:
        """Each client sends the next cloud once it was answered; one that got 429 comes back after Retry-After."""
        with self._client, _threads(num_clients, limit) as pool:
            for seed in range(num_clients):
                pool.submit(self._client_loop, random.Random(seed), limit)

    def open(self, rate: float, num_clients: int, limit: LoadLimit) -> None:
        """``rate`` requests a second on average, as from strangers (exponential pauses), by ``num_clients`` at most.

        A request is due when it comes, even if no client is free to send it: its seconds include that wait.
        """
        chance = random.Random(0)
        due_s = time.monotonic()
        with self._client, _threads(num_clients, limit) as pool:
            while limit.sleep(due_s - time.monotonic()) and limit.take():
                pool.submit(self._send, self._choose(chance), due_s)
                due_s += chance.expovariate(rate)

    def _client_loop(self, chance: random.Random, limit: LoadLimit) -> None:
        while limit.take():
            retry_after_s = self._send(self._choose(chance), time.monotonic())
            if retry_after_s:
                limit.sleep(retry_after_s * chance.uniform(0.2, 1))

    def _choose(self, chance: random.Random) -> int:
        return chance.choices(range(len(self._clouds)), [cloud.weight for cloud in self._clouds])[0]

    def _send(self, index: int, due_s: float) -> float | None:
        """Send one cloud; Retry-After of a refusal."""
        cloud = self._clouds[index]
        try:
            answer = _predicted(self._client, cloud)
        except Problem as problem:
            self.samples.append(RequestSample(cloud.label, time.monotonic() - due_s, problem.status))
            return problem.retry_after_s
        seconds = time.monotonic() - due_s
        is_right = np.array_equal(answer.labels, self._expected[index])
        self.samples.append(
            RequestSample(cloud.label, seconds, 200, answer.meta.num_points, is_right, answer.meta.timings_ms)
        )
        return None


def _predicted(client: Client, cloud: BenchCloud) -> Prediction:
    options: dict[str, Any] = dict(cloud.options)
    return client.predict(cloud.data, **options)


@contextmanager
def _threads(number: int, limit: LoadLimit) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads. Its end awaits them; after an exception they end soon."""
    with ThreadPoolExecutor(number) as pool:
        try:
            yield pool
            pool.shutdown()
        except BaseException:
            limit.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
