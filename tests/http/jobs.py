"""Jobs of a server, as a client waits for them."""

import time
from collections.abc import Callable
from typing import Any

import requests

from tests.http.server import Server

TILES = {"west/a.laz": slice(0, 700), "b.laz": slice(700, 1400)}


def uploaded(service: Server, tiles: dict[str, bytes], **kwargs: Any) -> requests.Response:
    return service.post("/jobs", files=[("file", each) for each in tiles.items()], **kwargs)


def ended(service: Server, job_id: str, **kwargs: Any) -> dict[str, Any]:
    return until(
        lambda: service.get(f"/jobs/{job_id}", **kwargs).json(), lambda job: job["state"] in ("done", "failed")
    )


def until(look: Callable[[], Any], is_it: Callable[[Any], bool], limit_s: float = 120.0) -> Any:
    end_s = time.monotonic() + limit_s
    while not is_it(found := look()):
        assert time.monotonic() < end_s, found
        time.sleep(0.1)
    return found
