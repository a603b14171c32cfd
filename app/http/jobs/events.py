"""What happens to a job, as server-sent events."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from app.errors import BadRequest, NotFound
from app.http.jobs.described import report_of, tile_report
from app.survey.jobs.job import Job
from app.survey.jobs.queue import JobQueue
from app.survey.manifest import Manifest

LOOK_S = 0.5
ALIVE_S = 15.0  # after so long without an event a comment says that the connection lives
MEDIA_TYPE = "text/event-stream"

Seen = dict[int, tuple[str, int]]  # state and attempts of a tile by its number


def events_of(jobs: JobQueue, job: Job) -> Iterator[bytes]:
    """``tile`` for each tile that begins or ends, ``job`` when anything of the report changes, and at last ``end``.

    The first events tell how things are. It ends without ``end`` when the service stops, for the client to ask again.
    """
    seen: Seen = {}
    last: dict[str, Any] = {}
    last_s = time.monotonic()
    while True:
        try:
            job = jobs.store.get(job.id, job.owner)
        except NotFound:
            yield _event("end", {"id": job.id, "state": "removed"})
            return
        events = list(_tiles(jobs, job, seen))
        report = asdict(report_of(jobs, job))
        if report != last:
            events.append(_event("job", report))
            last = report
        if events:
            yield b"".join(events)
            last_s = time.monotonic()
        if job.state.is_ended:
            yield _event("end", {"id": job.id, "state": job.state})
            return
        if jobs.is_stopping:
            return
        if time.monotonic() - last_s > ALIVE_S:
            yield b":\n\n"
            last_s = time.monotonic()
        jobs.store.wait(LOOK_S)


def _tiles(jobs: JobQueue, job: Job, seen: Seen) -> Iterator[bytes]:
    """Events for what changed since ``seen``, which is brought up to date."""
    try:
        manifest = Manifest.read(jobs.store.answers_of(job))
    except (BadRequest, NotFound):  # it has not begun
        return
    with manifest:
        out = manifest.get("out", "")
        now = {number: (state, attempts) for number, state, attempts in manifest.columns("id", "state", "attempts")}
        for number, how in now.items():
            if seen.get(number) != how and (number in seen or how[1]):
                yield _event("tile", asdict(tile_report(manifest.row(number), out)))
    seen.update(now)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
