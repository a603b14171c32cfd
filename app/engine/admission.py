"""Admission: how many requests, points and bytes of device memory may be in the service at once."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from app.engine.counts import OTHERS_LOOK_S, Counts, Each, Shared
from app.engine.deadline import STOPPING
from app.engine.forecast import Throughput
from app.errors import Busy, NotReady

ROOM_S = 2.0  # for slow clients that give way to be gone
MAX_RETRY_AFTER_S = 60.0


class Admission:
    """Bounds requests, the points of their clouds, and the device memory that these need. For any number of threads.

    Requests are counted over all processes that share ``counts``; clouds come to the owner of the queue only.

    A request counts from before its body is read until its answer is sent. Its cloud counts while it waits for an
    engine or is in one; a cloud that is alone is always accepted.

    Attributes:
        counts: as given.
        max_device_bytes: bound of the device memory; 0 for no limit.
    """

    def __init__(self, max_requests: int, max_points: int, counts: Counts | None = None):
        self.max_device_bytes = 0
        self.num_points = 0
        self.counts = counts or Counts()
        self._refused_clouds: Counter[str] = Counter()
        self._max_requests = max_requests
        self._max_points = max_points
        self._changed = threading.Condition()
        self._requests: set[AdmittedRequest] = set()
        self._device_bytes = 0
        self._throughput = Throughput()

    @property
    def num_requests(self) -> int:
        """Requests that are admitted and not closed."""
        return self.counts.total(Each.REQUESTS)

    @property
    def refusals(self) -> Counter[str]:
        """Requests that were refused, by what was full: requests, points or memory."""
        requests = self.counts.total(Each.REFUSED)
        return self._refused_clouds + Counter(requests=requests)

    def admit(self, make_room: Callable[[], bool] = lambda: False) -> "AdmittedRequest":
        """Admit one request; the caller closes it when the answer is sent.

        If the service is full, ``make_room`` is called; if it says that others give way, they are awaited for
        ``ROOM_S``. Raises Busy if the service stays full, NotReady after ``close``.
        """
        wait_s = OTHERS_LOOK_S if self.counts.num_processes > 1 else 0.0  # others may leave a place this moment
        if self._is_full and make_room():
            wait_s = ROOM_S
        request = AdmittedRequest(self)
        with self._changed:
            self._wait_for(lambda: self._is_closed or self._enter(request), wait_s)
            if request not in self._requests:
                if self._is_closed:
                    raise NotReady(STOPPING)
                self.counts.add(Each.REFUSED, 1)
                raise self._busy("As many requests as the queue may hold are being received or answered.")
        return request

    def add_cloud(self, num_points: int, device_bytes: int) -> None:
        """Count a cloud that waits for an engine; raises Busy if there are too many points or bytes then."""
        with self._changed:
            if self.num_points and self.num_points + num_points > self._max_points:
                here = f"{self.num_points} points wait or are being segmented, too many to add this cloud."
                self._refused_clouds["points"] += 1
                raise self._busy(here)
            if self._device_bytes and self._device_bytes + device_bytes > self.max_device_bytes > 0:
                self._refused_clouds["memory"] += 1
                raise self._busy("Clouds that wait or are being segmented need all of the device's memory.")
            self._count(num_points, device_bytes)

    def remove_cloud(self, num_points: int, device_bytes: int, took_s: float | None = None) -> None:
        """Count a cloud no more; ``took_s`` are the seconds of an engine that it took, if it was segmented."""
        with self._changed:
            if took_s is not None:
                self._throughput.add(num_points, took_s)
            self._count(-num_points, -device_bytes)

    def close(self, grace_s: float = 0.0) -> None:
        """Admit nothing more, and wait up to ``grace_s`` until every request that was admitted is closed."""
        with self._changed:
            self.counts.share(Shared.CLOSED, 1)
            self._changed.notify_all()
            self._wait_for(lambda: not self.num_requests, grace_s)

    @property
    def _is_closed(self) -> bool:
        return bool(self.counts.shared(Shared.CLOSED))

    @property
    def _is_full(self) -> bool:
        return self.num_requests >= self._max_requests

    def _enter(self, request: "AdmittedRequest") -> bool:
        """Admit ``request`` unless the service is full; whether it was."""
        with self.counts.locked():
            if self._is_full:
                return False
            self._requests.add(request)
            self.counts.add(Each.REQUESTS, 1)
            return True

    def _wait_for(self, is_over: Callable[[], bool], seconds: float) -> None:
        """Return once it ``is_over``, of which other processes give no notice, or after so many seconds."""
        until_s = time.monotonic() + seconds
        look_s = OTHERS_LOOK_S if self.counts.num_processes > 1 else math.inf
        while not is_over() and (left_s := until_s - time.monotonic()) > 0:
            self._changed.wait(min(left_s, look_s))

    def _count(self, num_points: int, device_bytes: int) -> None:
        self.num_points += num_points
        self._device_bytes += device_bytes
        self.counts.share(Shared.WAIT_S, math.ceil(self._throughput.seconds(self.num_points)))

    def _busy(self, why: str) -> Busy:
        retry_after_s = min(MAX_RETRY_AFTER_S, max(1.0, self.counts.shared(Shared.WAIT_S)))
        return Busy(f"{why} Try again in {retry_after_s:.0f} s.", retry_after_s=retry_after_s)

    def _leave(self, request: "AdmittedRequest") -> None:
        with self._changed:
            if request in self._requests:
                self._requests.discard(request)
                self.counts.add(Each.REQUESTS, -1)
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
