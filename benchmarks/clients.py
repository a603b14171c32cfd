"""Clients that send files as they lie in memory, so that what they take themselves does not count much."""

import http.client
import io
import re
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from benchmarks.fresh_clouds import FreshCloud

TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Answered:
    """One request: its cloud, the seconds until the whole answer, when that was (``time.monotonic``), its status or 0.

    ``stages_ms`` and ``passes`` are as the service says, ``checksum`` is that of the labels, None if there are not as
    many as points.
    """

    cloud: FreshCloud
    seconds: float
    ended_s: float
    status: int
    stages_ms: Mapping[str, float]
    passes: str
    checksum: int | None


class Connection:
    """Kept open from request to request."""

    def __init__(self, url: str):
        self._http = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)

    def ask(self, cloud: FreshCloud, query: str = "") -> Answered:
        """The answer as NPY to one cloud; ``query`` is added to that of the cloud."""
        begin_s = time.monotonic()
        try:
            response, content = self._exchange(f"/predict?output=npy&{cloud.query}{query}", cloud.parts)
        except (OSError, http.client.HTTPException):  # the service broke off
            self.close()
            return Answered(cloud, time.monotonic() - begin_s, time.monotonic(), 0, {}, "", None)
        ended_s = time.monotonic()
        timings = re.findall(r"([\w-]+);dur=([\d.]+)", response.getheader("Server-Timing", ""))
        stages_ms = {stage: float(ms) for stage, ms in timings}
        passes = response.getheader("X-Pointserve-Passes", "")
        checksum = None
        if response.status == 200:
            labels = np.load(io.BytesIO(content))
            checksum = zlib.crc32(labels.tobytes()) if len(labels) == cloud.num_points else None
        return Answered(cloud, ended_s - begin_s, ended_s, response.status, stages_ms, passes, checksum)

    def _exchange(self, path: str, parts: Sequence[bytes | memoryview]) -> tuple[http.client.HTTPResponse, bytes]:
        self._http.putrequest("POST", path)
        self._http.putheader("Content-Type", "application/octet-stream")
        self._http.putheader("Content-Length", str(sum(len(part) for part in parts)))
        self._http.endheaders()
        for part in parts:
            self._http.send(part)
        response = self._http.getresponse()
        return response, response.read()

    def close(self) -> None:
        """Close it."""
        self._http.close()


def closed_loop(url: str, take: Callable[[], FreshCloud | None], num_clients: int, seconds: float) -> list[Answered]:
    """What clients get of whom each sends its next cloud once it was answered, until time or clouds are over."""
    answers: list[Answered] = []
    end_s = time.monotonic() + seconds
    lock = threading.Lock()

    def run() -> None:
        with closing(Connection(url)) as connection:
            while time.monotonic() < end_s and (cloud := take()):
                answer = connection.ask(cloud)
                with lock:
                    answers.append(answer)

    with ThreadPoolExecutor(num_clients) as pool:
        for client in [pool.submit(run) for _ in range(num_clients)]:
            client.result()
    return answers
