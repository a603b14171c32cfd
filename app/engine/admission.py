"""Admission: how many requests, points and bytes of device memory may be in the service at once."""

import math
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from app.engine.deadline import STOPPING
from app.engine.forecast import Throughput
from app.errors import Busy, NotReady

ROOM_S = 2.0  # for slow clients that give way to be gone
MAX_RETRY_AFTER_S = 60.0


class Admission:
    """Bounds requests, the points of their clouds, and the device memory that these need. For any number of threads.

    A request counts from before its body is read until its answer is sent. Its cloud counts while it waits for an
    engine or is in one; a cloud that is alone is always accepted.

    Attributes:
        max_device_bytes: bound of the device memory; 0 for no limit.
        refusals: requests that were refused, by what was full: requests, points or memory.
    """

    def __init__(self, max_requests: int, max_points: int):
        self.max_device_bytes = 0
        self.refusals: Counter[str] = Counter()
        self.num_points = 0
        self._max_requests = max_requests
        self._max_points = max_points
        self._changed = threading.Condition()
        self._requests: set[AdmittedRequest] = set()
        self._device_bytes = 0
        self._throughput = Throughput()
        self._is_closed = False

    @property
    def num_requests(self) -> int:
        """Requests that are admitted and not closed."""
        return len(self._requests)

    def admit(self, make_room: Callable[[], bool] = lambda: False) -> "AdmittedRequest":
        """Admit one request; the caller closes it when the answer is sent.

        If the service is full, ``make_room`` is called; if it says that others give way, they are awaited for
        ``ROOM_S``. Raises Busy if the service stays full, NotReady after ``close``.
        """
        wait_s = ROOM_S if self._is_full and make_room() else 0.0
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or not self._is_full, wait_s)
            if self._is_closed:
                raise NotReady(STOPPING)
            if self._is_full:
                raise self._busy("requests", "As many requests as the queue may hold are being received or answered.")
            request = AdmittedRequest(self)
            self._requests.add(request)
        return request

    def add_cloud(self, num_points: int, device_bytes: int) -> None:
        """Count a cloud that waits for an engine; raises Busy if there are too many points or bytes then."""
        with self._changed:
            if self.num_points and self.num_points + num_points > self._max_points:
                here = f"{self.num_points} points wait or are being segmented, too many to add this cloud."
                raise self._busy("points", here)
            if self._device_bytes and self._device_bytes + device_bytes > self.max_device_bytes > 0:
                raise self._busy("memory", "Clouds that wait or are being segmented need all of the device's memory.")
            self.num_points += num_points
            self._device_bytes += device_bytes

    def remove_cloud(self, num_points: int, device_bytes: int, took_s: float | None = None) -> None:
        """Count a cloud no more; ``took_s`` are the seconds of an engine that it took, if it was segmented."""
        with self._changed:
            self.num_points -= num_points
            self._device_bytes -= device_bytes
            if took_s is not None:
                self._throughput.add(num_points, took_s)

    def close(self, grace_s: float = 0.0) -> None:
        """Admit nothing more, and wait up to ``grace_s`` until every request that was admitted is closed."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._requests, grace_s)

    @property
    def _is_full(self) -> bool:
        return self.num_requests >= self._max_requests

    def _busy(self, reason: str, why: str) -> Busy:
        self.refusals[reason] += 1
        retry_after_s = min(MAX_RETRY_AFTER_S, max(1.0, math.ceil(self._throughput.seconds(self.num_points))))
        return Busy(f"{why} Try again in {retry_after_s:.0f} s.", retry_after_s=retry_after_s)

    def _leave(self, request: "AdmittedRequest") -> None:
        with self._changed:
            self._requests.discard(request)
            self._changed.notify_all()


class AdmittedRequest:
    """One request among those that the service admits, until ``close``."""

    def __init__(self, admission: Admission):
        self._admission = admission

    def close(self) -> None:
        """Make room for another request; may be called twice."""
        self._admission._leave(self)

    def __enter__(self) -> "AdmittedRequest":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
