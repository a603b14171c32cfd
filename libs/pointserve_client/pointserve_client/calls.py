"""What a client can ask, each as one coroutine: ``AsyncClient`` has them as they are, ``Client`` waits for them."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from pointserve_client.answer import Answer, OnReceived, Prediction, PredictionWarning, answer_of, prediction_of
from pointserve_client.driver import Driver
from pointserve_client.errors import MALFORMED, NotReady, Problem
from pointserve_client.form import Form, asked
from pointserve_client.options import Options, Output
from pointserve_client.transport import Reply, Request, Transport
from pointserve_client.upload import OnSent, Source, Upload, opened

if TYPE_CHECKING:
    from typing_extensions import Unpack

LOOK_S = 0.5


class Caller:
    """A server, and how long its answers are waited for: what every call needs."""

    _driver: Driver
    _transport: Transport
    _patience_s: float


async def predict(
    self: Caller,
    cloud: Source,
    *,
    on_sent: OnSent = lambda sent, total: None,
    on_received: OnReceived = lambda received, total: None,
    **options: Unpack[Options],
) -> Prediction:
    """Classify the points of a cloud: a file as its path, its bytes or opened as binary; or points in memory.

    Points in memory are an array (N, 3 or more), whose columns the option ``columns`` names if they are more than x, y,
    z; or arrays of N rows by name: coord, color, normal, strength. ``options`` are those of POST /predict. ``on_sent``
    and ``on_received`` are called with the bytes so far and all of them, or None if the server does not say how many
    come; what they raise ends the request. Each warning of the answer is one of Python's too (PredictionWarning).

    Raises:
        Problem: what the server says, or why it is not reached.
        OSError: the file cannot be read.
    """
    given = {**options, "output": "safetensors"}
    reply = await _predicted(self, cloud, given, None, on_sent, on_received)
    found = prediction_of(reply.content, answer_of(reply.headers))
    for text in found.meta.warnings:
        warnings.warn(text, PredictionWarning, stacklevel=self._driver.stacklevel)
    return found


async def predict_file(
    self: Caller,
    cloud: Source,
    to: str | PathLike[str],
    *,
    output: Output | None = None,
    on_sent: OnSent = lambda sent, total: None,
    on_received: OnReceived = lambda received, total: None,
    **options: Unpack[Options],
) -> Answer:
    """Classify the points of a cloud, and write the answer to the file ``to``, whole or not at all.

    The format is ``output``, else the suffix of ``to``. The rest is as in ``predict``.
    """
    path = Path(to)
    given = {**options, "output": output or path.suffix.removeprefix(".")}
    reply = await _predicted(self, cloud, given, path, on_sent, on_received)
    return answer_of(reply.headers)


async def models(self: Caller) -> list[dict[str, Any]]:
    """Every model that the server found, as GET /models describes it."""
    found = (await json_of(self, Request("GET", "/models"))).get("models")
    if not isinstance(found, list):
        raise Problem("What answered is no pointserve (no list of models).", status=502)
    return found


async def load(self: Caller, model: str) -> dict[str, Any]:
    """Load a model, again if it is loaded; what GET /models then says of it."""
    return await json_of(self, Request("POST", f"/models/{quote(model, safe='')}/load"))


async def reload(self: Caller, model: str) -> dict[str, Any]:
    """Load a model again, and keep it as it was if its new files cannot be served."""
    return await json_of(self, Request("POST", f"/models/{quote(model, safe='')}/reload"))


async def unload(self: Caller, model: str) -> dict[str, Any]:
    """Free the memory of a model."""
    return await json_of(self, Request("POST", f"/models/{quote(model, safe='')}/unload"))


async def health(self: Caller) -> dict[str, Any]:
    """State of the service, its engines and its queue, at once and also if it is not ready."""
    return await json_of(self, Request("GET", "/health", accepted=503), patience_s=0.0)


async def check_live(self: Caller) -> None:
    """Return if the service answers; raises NotReady if only a restart helps."""
    await json_of(self, Request("GET", "/health/live"), patience_s=0.0)


async def check_ready(self: Caller) -> None:
    """Return if predictions can be made; raises NotReady, with the server's reason, if not."""
    await json_of(self, Request("GET", "/health/ready"), patience_s=0.0)


async def wait_ready(self: Caller, timeout_s: float = 300.0) -> None:
    """Return once predictions can be made; raises NotReady, with the server's reason, if not by then."""
    end_s = time.monotonic() + timeout_s
    while True:
        request = Request("GET", "/health/ready", silence_s=max(LOOK_S, end_s - time.monotonic()))
        try:
            await json_of(self, request, patience_s=0.0)
            return
        except NotReady:
            if time.monotonic() > end_s:
                raise
            await self._driver.sleep(LOOK_S)


async def diagnostics(self: Caller, *, deep: bool = False) -> dict[str, Any]:
    """Versions, devices, operators, and what is wrong with them; ``deep`` runs and times every operator."""
    return await json_of(self, Request("GET", f"/diagnostics{'?deep=1' if deep else ''}"))


async def close(self: Caller) -> None:
    """Close all connections."""
    await self._driver.close()


async def _predicted(
    self: Caller, cloud: Source, options: Mapping[str, Any], to: Path | None, on_sent: OnSent, on_received: OnReceived
) -> Reply:
    async with _upload(self, cloud) as upload:
        query, fields = asked(written({"filename": upload.name, **options}))
        body = Form(fields, upload) if fields else upload
        headers = {"Content-Type": body.media_type, "X-Request-Id": str(uuid4())}
        request = Request("POST", f"/predict?{query}", body, headers, to, on_sent=on_sent, on_received=on_received)
        return await self._transport.ask(request, self._patience_s)


@asynccontextmanager
async def _upload(self: Caller, cloud: Source) -> AsyncIterator[Upload]:
    upload = await self._driver.call(opened, cloud)
    try:
        yield upload
    finally:
        upload.close()


async def json_of(self: Caller, request: Request, patience_s: float | None = None) -> dict[str, Any]:
    """The object that the server answers ``request`` with; raises Problem."""
    reply = await self._transport.ask(request, self._patience_s if patience_s is None else patience_s)
    try:
        return {**json.loads(reply.content)}
    except MALFORMED as error:
        raise Problem(f"What answered is no pointserve ({error}).", status=502) from error


def written(options: Mapping[str, Any]) -> dict[str, str]:
    """``options`` as they stand in a query: several values joined by commas, those that are None or empty left out."""
    texts = {name: _text(value) for name, value in options.items() if value is not None}
    return {name: text for name, text in texts.items() if text}


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else str(value)
