"""Jobs: many files that a server labels while nobody waits on a connection, each call as one coroutine."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from pointserve_client.answer import OnReceived
from pointserve_client.calls import Caller, json_of, written
from pointserve_client.errors import BadAddress, Busy, NotReady, Problem
from pointserve_client.events import Events, OnData, TimeIsOver
from pointserve_client.files import Files
from pointserve_client.form import asked
from pointserve_client.options import Options, Output
from pointserve_client.transport import Request
from pointserve_client.upload import OnSent, Upload

if TYPE_CHECKING:
    from typing_extensions import Unpack

LOOK_S = 1.0
SILENCE_S = 60.0  # of events; a server says more often that it is there
ENDED = ("done", "failed")


async def submit(
    self: Caller,
    paths: Sequence[str | PathLike[str]] | Mapping[str, str | PathLike[str]],
    *,
    buffer: float | None = None,
    output: Output | None = None,
    idempotency_key: str = "",
    on_sent: OnSent = lambda sent, total: None,
    **options: Unpack[Options],
) -> dict[str, Any]:
    """Send the files at ``paths`` as one job; the job as the server describes it, with its ``id``.

    As a mapping ``paths`` have names, which may be relative paths such as "north/a.laz", as the answers will have them.
    ``buffer`` is how many metres around a file others give context; None for as many as the model looks at. ``output``
    is the format of all answers, None for that of each file. ``options`` are those of a prediction.

    If the connection breaks, the files are sent again, and there is one job all the same, because every attempt has the
    same Idempotency-Key. A program that may end before it has the answer gives one of its own: the same call with the
    same ``idempotency_key`` then gives the job that is there.

    Raises Problem, and OSError if a file cannot be read.
    """
    query, fields = asked(written({**options, "output": output, "buffer": buffer}))
    upload = await self._driver.call(Files, paths, fields)
    try:
        headers = {"Content-Type": upload.media_type, **_once(idempotency_key)}
        return await json_of(self, Request("POST", f"/jobs?{query}", upload, headers, on_sent=on_sent))
    finally:
        upload.close()


async def submit_sources(
    self: Caller,
    sources: Sequence[str],
    *,
    buffer: float | None = None,
    output: Output | None = None,
    idempotency_key: str = "",
    **options: Unpack[Options],
) -> dict[str, Any]:
    """Have the server label files in places that it reads itself: paths, folders, globs and URLs that its operator
    allows. The rest is as in ``submit``."""
    about = {**written({**options, "output": output, "buffer": buffer}), "sources": list(sources)}
    headers = {"Content-Type": "application/json", **_once(idempotency_key)}
    return await json_of(self, Request("POST", "/jobs", Upload(io.BytesIO(json.dumps(about).encode())), headers))


async def jobs(self: Caller) -> list[dict[str, Any]]:
    """The jobs of this key, as GET /jobs describes them."""
    found = (await json_of(self, Request("GET", "/jobs"))).get("jobs")
    if not isinstance(found, list):
        raise Problem("What answered is no pointserve (no list of jobs).", status=502)
    return found


async def job(self: Caller, job_id: str) -> dict[str, Any]:
    """How far a job is, in all and by file, as GET /jobs/ID describes it; raises NotFound if there is none."""
    return await json_of(self, Request("GET", _path(job_id)))


async def wait_job(
    self: Caller,
    job_id: str,
    timeout_s: float = math.inf,
    *,
    on_job: OnData = lambda job: None,
    on_tile: OnData = lambda tile: None,
) -> dict[str, Any]:
    """Return the job once it has ended, well or not.

    ``on_job`` is called with it when anything changes, ``on_tile`` with each file that begins or ends, as the server
    tells by events; if these break off, they are asked for again. Raises NotReady after ``timeout_s``, or if the server
    is not reached for as long as the client is patient, NotFound if the job was removed.
    """
    end_s = time.monotonic() + timeout_s
    while True:
        found = await job(self, job_id)
        on_job(found)
        if found.get("state") in ENDED:
            return found
        if time.monotonic() >= end_s:
            raise NotReady(f"The job has not ended in {timeout_s:g} s; it is {found.get('state')}.")
        events = Events({"job": on_job, "tile": on_tile}, end_s)
        silence_s = min(SILENCE_S, max(LOOK_S, end_s - time.monotonic()))
        with suppress(Busy, NotReady, TimeIsOver):
            request = Request("GET", f"{_path(job_id)}/events", take=events.take, silence_s=silence_s)
            await self._transport.ask(request, 0.0)
        if not events.is_over:
            await self._driver.sleep(min(LOOK_S, max(0.0, end_s - time.monotonic())))


async def fetch_job(
    self: Caller,
    job_id: str,
    to: str | PathLike[str],
    *,
    on_received: OnReceived = lambda received, total: None,
) -> None:
    """Write the answers of a job that has ended to the file ``to``, whole or not at all.

    It is the answer of the only file, or a zip of all answers with a report. Raises Problem with status 409 before the
    job has ended, NotFound if no file was labelled.
    """
    request = Request(
        "GET", f"{_path(job_id)}/result", to=Path(to), check=lambda headers: None, on_received=on_received
    )
    await self._transport.ask(request, self._patience_s)


async def job_answers(self: Caller, job_id: str) -> dict[str, Any]:
    """The answers of a job that has ended, one by one. Each of ``files`` has a ``name``, a relative path, ``bytes``,
    ``sha256``, '' if that is not known, and a ``url`` for ``fetch_answer``. Raises as ``fetch_job`` does."""
    request = Request("GET", f"{_path(job_id)}/result", headers={"Accept": "application/json"})
    return await json_of(self, request)


async def fetch_answer(
    self: Caller,
    job_id: str,
    url: str,
    to: str | PathLike[str],
    *,
    on_received: OnReceived = lambda received, total: None,
) -> None:
    """Write one of ``job_answers`` to the file ``to``, whole or not at all.

    ``url`` may be a link to an object store, which is asked without the key. Raises Problem.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadAddress(f"{url!r} is no place of an answer ({error}).") from None
    base = f"{parts.scheme}://{parts.netloc}" if parts.scheme else ""
    transport = self._transport.elsewhere(base) if base else self._transport
    path = url[len(base) :] if base else f"{_path(job_id)}/{url}"
    request = Request("GET", path, to=Path(to), check=lambda headers: None, on_received=on_received)
    await transport.ask(request, self._patience_s)


async def retry_job(self: Caller, job_id: str) -> dict[str, Any]:
    """Have the files of a job that has ended tried again that failed; the job as it is then."""
    return await json_of(self, Request("POST", f"{_path(job_id)}/retry"))


async def remove_job(self: Caller, job_id: str) -> None:
    """End a job, and remove its files and answers from the server."""
    await self._transport.ask(Request("DELETE", _path(job_id)), self._patience_s)


def _once(key: str) -> dict[str, str]:
    """The header by which the server knows a request that comes again."""
    return {"Idempotency-Key": f'"{key or uuid4()}"'}


def _path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"
