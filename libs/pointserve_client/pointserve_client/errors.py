"""Problems that a request can end in: one class for each status that the service answers."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pointserve_client.waits import retry_after_s

# what comes of reading JSON that another program wrote
MALFORMED = (AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Problem(Exception):
    """Base of every error that the server or the way to it causes.

    Attributes:
        status: HTTP status.
        title: kind of problem in a few words.
        detail: what was wrong, what was expected, what to do; the server's own words.
        retry_after_s: seconds after which the server wants to be asked again; None if it states none.
        request_id: under which the server's log has the request; empty if it was not reached.
        columns: those of the file, if its channels could not be told from their names.
    """

    status = 500
    title = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        title: str = "",
        retry_after_s: float | None = None,
        request_id: str = "",
        columns: Sequence[str] = (),
    ):
        super().__init__(detail)
        self.status = status or self.status
        self.title = title or self.title
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.columns = list(columns)


class BadRequest(Problem):
    """The request itself is malformed: an unknown option, a value of the wrong kind."""

    status = 400
    title = "Bad request"


class BadAddress(BadRequest):
    """The address of the server is none, is not found or is not to be trusted; nothing was sent."""


class Unauthorized(Problem):
    """A key is required and was missing or wrong."""

    status = 401
    title = "Unauthorized"


class Forbidden(Problem):
    """The operator does not allow this."""

    status = 403
    title = "Forbidden"


class NotFound(Problem):
    """No such model or path."""

    status = 404
    title = "Not found"


class Conflict(Problem):
    """What is asked for does not go with what is under way, such as the result of a job that has not ended."""

    status = 409
    title = "Conflict"


class TooLarge(Problem):
    """The body or the cloud is over a limit of the server."""

    status = 413
    title = "Too large"


class UnsupportedFormat(Problem):
    """The server does not read the format of the cloud, or does not know the one that is asked for."""

    status = 415
    title = "Unsupported format"


class Unprocessable(Problem):
    """The cloud cannot be read, the model cannot be served, or the cloud ended the process that computed it."""

    status = 422
    title = "Unprocessable"


class Busy(Problem):
    """The server has no place for the request at the moment."""

    status = 429
    title = "Busy"


class NotOffered(Problem):
    """The server is not set up for this, such as for links to an object store that signs none."""

    status = 501
    title = "Not offered"


class NotReady(Problem):
    """The server cannot take work at the moment, or the connection to it broke."""

    status = 503
    title = "Not ready"


class Unreached(NotReady):
    """Nothing answers at the address of the server, and nothing did before."""


class DeadlineExceeded(Problem):
    """The answer was not ready in the time that the request or the server allows."""

    status = 504
    title = "Deadline exceeded"


class NoRoom(Problem):
    """The server has no room to store the body."""

    status = 507
    title = "Insufficient storage"


KINDS: dict[int, type[Problem]] = {kind.status: kind for kind in Problem.__subclasses__()}


def problem_of(status: int, reason: str, headers: Mapping[str, str], content: bytes | bytearray) -> Problem:
    """The problem of an answer with ``status``; ``content`` is a body of RFC 9457, or anything."""
    said: dict[str, Any] = {}
    columns: list[str] = []
    with suppress(*MALFORMED):
        said = {**json.loads(content)}
        columns = [str(name) for name in said.get("columns") or ()]
    return KINDS.get(status, Problem)(
        str(said.get("detail") or f"The server answered {f'{status} {reason}'.strip()}."),
        status=status,
        title=str(said.get("title") or reason),
        retry_after_s=retry_after_s(headers.get("retry-after")),
        request_id=str(said.get("request_id") or headers.get("x-request-id", "")),
        columns=columns,
    )
