"""The id, log line, span and headers of one request."""

import re
import time
from typing import Any
from uuid import uuid4

from apiflask import APIFlask
from flask import Response, g, request
from structlog.contextvars import bind_contextvars, unbind_contextvars

from app.engine.answer import Answer
from app.http.log import request_line
from app.http.state import state
from app.http.telemetry import Telemetry

SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")
NOTHING_LOADS = "default-src 'none'; frame-ancestors 'none'"


def request_id() -> str:
    """The id of this request: the client's X-Request-Id if it is valid, else a new one."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if SANE_ID.fullmatch(given) else str(uuid4())
    return str(g.request_id)


def note(**values: object) -> None:
    """Add ``values`` to the log line of the request at hand."""
    g.setdefault("notes", {}).update(values)


def refused(detail: str) -> None:
    """Put the reason of a refusal into the log line of this request, but not into traces, as it may hold a client's
    words."""
    g.detail = detail


def answered(answer: Answer) -> None:
    """Count the prediction that the request at hand led to, and tell its log line and its trace of it."""
    state().measures.answered(answer)
    note(model=answer.model, points=answer.num_points)
    g.span.stages(answer.timings_ms)


def body_was_read() -> None:
    """Say that nothing of the body is left in the connection, so that it can carry another request."""
    g.body_read = True


def register(app: APIFlask, telemetry: Telemetry) -> None:
    """Give every answer of ``app`` its id and safe headers, and every request one log line and one span."""

    @app.before_request
    def begin() -> None:
        bind_contextvars(request_id=request_id())  # for every line that this thread writes meanwhile
        g.begin_s = time.perf_counter()
        g.span = telemetry.begin(request.headers.get("traceparent", ""), request.headers.get("tracestate", ""))

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        unbind_contextvars("request_id")

    app.after_request(_finish)


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = request_id()
    response.headers["traceparent"] = str(g.span.context)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers.setdefault("Content-Security-Policy", NOTHING_LOADS)
    response.headers.setdefault("Cache-Control", "no-store")
    if not g.get("body_read") and (request.content_length or "Transfer-Encoding" in request.headers):
        request.environ.get("pointserve.close", lambda: None)()
    line: dict[str, Any] = {
        "id": request_id(),
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
    }
    line |= {"client": request.remote_addr, "trace_id": g.span.context.trace_id}
    why = {"detail": g.detail} if "detail" in g else {}
    notes, begin_s, span = g.get("notes", {}), g.begin_s, g.span
    route = request.url_rule.rule if request.url_rule else ""

    @response.call_on_close
    def end() -> None:
        request_line(**line, **notes, **why, ms=round(1000 * (time.perf_counter() - begin_s), 1))
        attributes = {f"pointserve.{name}": value for name, value in {"request_id": line["id"], **notes}.items()}
        span.end(line["method"], route, line["status"], {"url.path": line["path"], **attributes})

    return response
