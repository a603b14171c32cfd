"""Handlers that turn every error into the JSON of ``app.http.problem``."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence

import structlog
from apiflask import APIFlask
from flask import Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.exceptions import NotFound as NoSuchPath

from app.errors import SHORT, Problem, shortened, storage_problem
from app.http.problem import MEDIA_TYPE, problem_details
from app.http.trace import refused, request_id

WORDS = {  # where nobody said more
    400: "The request is malformed: its headers or its address cannot be read. GET /docs says how requests look.",
    413: "The request is larger than this server takes.",
    416: "The range that was asked for is not in the file.",
}

log = structlog.get_logger()


def problem_response(
    status: int,
    title: str,
    detail: str,
    headers: Iterable[tuple[str, str]] = (),
    retry_after_s: float | None = None,
    columns: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
) -> Response:
    """The one shape of an error; ``detail`` is ``shortened``."""
    detail = shortened(detail)
    refused(detail)
    body = problem_details(status, title, detail, request_id())
    if columns:
        body["columns"] = list(columns)
    if options:
        body["options"] = dict(options)
    text = json.dumps(body, ensure_ascii=False) + "\n"
    response = Response(text.encode("utf-8", "replace"), status, mimetype=MEDIA_TYPE)
    for name, value in headers:
        response.headers[name] = value
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    return response


def from_problem(problem: Problem) -> Response:
    """An error that pointserve raised on purpose."""
    if problem.status == 500:
        log.error("problem", detail=problem.detail, request_id=request_id(), exc_info=problem)
    return problem_response(
        problem.status,
        problem.title,
        problem.detail,
        retry_after_s=problem.retry_after_s,
        columns=problem.columns,
        options=problem.options,
    )


def from_http_exception(error: HTTPException) -> Response:
    """An error that Flask or Werkzeug raised; its headers (Allow, Location) stay."""
    headers = [(name, value) for name, value in error.get_headers() if name.lower() != "content-type"]
    return problem_response(error.code or 500, error.name.capitalize(), _detail(error), headers)


def from_os_error(error: OSError) -> Response:
    """Memory or descriptors that lack for a moment are no bug; anything else is."""
    return from_problem(storage_problem(error, "this request")) if error.errno in SHORT else from_exception(error)


def from_exception(error: Exception) -> Response:
    """Anything else is a bug: the log has it whole, the answer has one sentence without details."""
    log.error("unexpected error", request_id=request_id(), method=request.method, path=request.path, exc_info=error)
    detail = "Something failed inside the server. It is in the server's log under this request_id; please report it."
    return problem_response(500, "Internal error", detail)


def register(app: APIFlask) -> None:
    """Make ``app`` answer every error in this module's shape."""
    app.register_error_handler(Problem, from_problem)
    app.register_error_handler(HTTPException, from_http_exception)
    app.register_error_handler(OSError, from_os_error)
    app.register_error_handler(Exception, from_exception)


def _detail(error: HTTPException) -> str:
    path = shortened(request.path, 200)
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return f"{path} does not take {request.method:.20}; it takes {allowed}."
    if error.description and error.description != type(error).description:
        return error.description  # one of this service's own
    if isinstance(error, NoSuchPath):
        return f"There is nothing at {path}. GET /docs lists every path."
    return WORDS.get(error.code or 500, "The request cannot be answered; GET /docs says how requests look.")
