"""Answers to requests that never reach the application, such as malformed HTTP."""

import json
import re
from http import HTTPStatus
from uuid import uuid4

from gunicorn.http import errors

from app.http.front.connection import HEAD_BYTES
from app.http.log import request_line
from app.http.problem import MEDIA_TYPE, problem_details

NUM_FIELDS = 100
FIELD_BYTES = 8190
LINE_BYTES = 4094
BEGIN = re.compile(rb"([A-Z]{1,20}) (/[^\s?#]*)(?=[\s?#])")  # method and path, without options, which may be secret

BY_KIND: dict[type[Exception], tuple[int, str]] = {
    errors.LimitRequestLine: (
        414,
        f"The request line, which is the address with its options, is longer than {LINE_BYTES} bytes. Send the options "
        "as fields of a form, or fewer of them.",
    ),
    errors.LimitRequestHeaders: (
        431,
        f"The headers are too large: at most {NUM_FIELDS}, each of at most {FIELD_BYTES} bytes, and {HEAD_BYTES} bytes "
        "in all with the request line. Send fewer or shorter ones; cookies are not needed here.",
    ),
    errors.ExpectationFailed: (417, "Of the header Expect only the value 100-continue is known. Leave the header out."),
    errors.UnsupportedTransferCoding: (
        501,
        "Of the header Transfer-Encoding only the value chunked is known. To send a compressed body, name its "
        "compression in Content-Encoding.",
    ),
    errors.InvalidHTTPVersion: (400, "The request is not of HTTP/1.0 or HTTP/1.1. Speak HTTP/1.1 to this server."),
    errors.InvalidRequestLine: (
        400,
        "The first line is not a request: expected METHOD PATH HTTP/1.1 and the end of line CR LF, with spaces and "
        "letters beyond ASCII in the path encoded as %20 and the like. Speak HTTP to this port, not TLS.",
    ),
    errors.InvalidRequestMethod: (400, "The request's method is not known: expected GET, POST, HEAD or OPTIONS."),
    errors.InvalidHeader: (
        400,
        "A header is malformed, or one that may occur only once (Host, Content-Length, Content-Type, "
        "Transfer-Encoding) is there twice or contradicts another: expected NAME: VALUE without control characters, "
        "each line ended by CR LF.",
    ),
    errors.InvalidHeaderName: (
        400,
        "The name of a header has characters that it may not have: letters, digits and hyphens may be in it, "
        "underscores may not.",
    ),
    errors.ObsoleteFolding: (400, "A header goes on in a second line, which HTTP has given up. Put it into one line."),
}


def refusal_of(error: Exception) -> tuple[int, str] | None:
    """Status and detail of what gunicorn raises for a request that it cannot read; None if it is no such error."""
    kinds = (BY_KIND[kind] for kind in type(error).__mro__ if kind in BY_KIND)
    other = (400, "The request is not HTTP as this server reads it. Send it with a client for HTTP/1.1.")
    return next(kinds, other) if isinstance(error, errors.ParseException) else None


def refuse(status: int, detail: str, begin: bytes, address: object) -> bytes:
    """A whole answer in the shape of every other error, after which the connection ends; writes the request's line.

    ``begin`` is what has arrived of the request, ``address`` the client's as ``getpeername`` gives it.
    """
    title = HTTPStatus(status).phrase
    request_id = str(uuid4())
    match = BEGIN.match(begin)
    known = {"method": match[1].decode(), "path": match[2].decode("latin-1")} if match else {}
    client = address[0] if isinstance(address, tuple) else None
    request_line(status, id=request_id, **known, client=client, detail=detail)
    body = json.dumps(problem_details(status, title.capitalize(), detail, request_id)).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"X-Request-Id: {request_id}\r\nX-Content-Type-Options: nosniff\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
