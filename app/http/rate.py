"""The rate limit of requests, by key or address."""

import threading
import time
from typing import Protocol

from app.errors import Busy

MAX_CLIENTS = 10_000


class Rate(Protocol):
    """A limit of requests."""

    def take(self, client: str) -> None:
        """Count one request; raises Busy if ``client`` has sent too many."""


class RateLimit:
    """A bucket of ``per_minute`` requests for every client, filled evenly; 0: no limit. For any number of threads."""

    def __init__(self, per_minute: float):
        self._size = max(1.0, per_minute)
        self._per_s = per_minute / 60
        self._buckets: dict[str, tuple[float, float]] = {}  # what was in it, and when
        self._lock = threading.Lock()

    def take(self, client: str) -> None:
        """Count one request; raises Busy if the bucket of ``client`` is empty."""
        if not self._per_s:
            return
        now_s = time.monotonic()
        with self._lock:
            left = self._left(client, now_s)
            if left >= 1:
                self._buckets.pop(client, None)  # so that the last one is the latest
                self._buckets[client] = left - 1, now_s
                if len(self._buckets) > MAX_CLIENTS:
                    self._buckets.pop(next(iter(self._buckets)))
                return
        wait_s = (1 - left) / self._per_s
        raise Busy(
            f"This client has sent more than {60 * self._per_s:g} requests a minute. Try again in {wait_s:.0f} s.",
            retry_after_s=wait_s,
        )

    def _left(self, client: str, now_s: float) -> float:
        left, then_s = self._buckets.get(client, (self._size, now_s))
        return min(self._size, left + (now_s - then_s) * self._per_s)
