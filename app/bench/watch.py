"""What a service under load holds, and whether it still answers, looked at from outside now and then."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pointserve_client import Client, Problem

from app.bench.processes import family, memory_bytes, num_descriptors

HEALTH_S = 0.5
MEMORY_S = 2.0


@dataclass(frozen=True)
class ResourceSample:
    """Bytes by kind of process, and open files, at one moment; only if the service runs on this machine."""

    elapsed_s: float
    memory_bytes: dict[str, int]
    num_descriptors: int


@dataclass
class Watch:
    """Looks at a service every ``MEMORY_S``, and asks for /health/live every ``HEALTH_S``.

    ``live_s`` are the seconds that the latter took, ``num_silences`` counts those that got no answer; ``before`` and
    ``after`` are what GET /health said around the load.
    """

    url: str
    key: str
    samples: list[ResourceSample] = field(default_factory=list)
    live_s: list[float] = field(default_factory=list)
    num_silences: int = 0
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what runs within."""
        over = threading.Event()
        with Client(self.url, self.key) as client:
            self.before = _health(client)
            threads = [threading.Thread(target=work, args=(client, over)) for work in (self._ask, self._look)]
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                over.set()
                for thread in threads:
                    thread.join()
                self.after = _health(client)

    def _ask(self, client: Client, over: threading.Event) -> None:
        while not over.wait(HEALTH_S):
            begin_s = time.monotonic()
            try:
                client.check_live()
                self.live_s.append(time.monotonic() - begin_s)
            except Problem:
                self.num_silences += 1

    def _look(self, client: Client, over: threading.Event) -> None:
        begin_s = time.monotonic()
        while True:
            processes = _processes(client)
            if processes:
                sample = ResourceSample(time.monotonic() - begin_s, memory_bytes(processes), num_descriptors(processes))
                self.samples.append(sample)
            if over.wait(MEMORY_S):
                return


def _health(client: Client) -> dict[str, Any]:
    try:
        return client.health()
    except Problem:  # it does not answer at this moment
        return {"engines": []}


def _processes(client: Client) -> dict[int, str]:
    """The processes of the service, if it runs on this machine."""
    found: dict[int, str] = {}
    for engine in _health(client)["engines"]:
        if engine["pid"]:
            try:
                found |= family(engine["pid"])
            except (OSError, ValueError):  # it ended meanwhile
                continue
    return found
