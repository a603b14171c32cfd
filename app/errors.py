"""The problems that a request can end in.

Each class states its HTTP consequence; ``app.http.errors`` turns any of them into one RFC 9457 answer, the
command line into one line and an exit code. Messages say what was wrong, what was expected and what to do.
"""

import errno
import os
from collections.abc import Mapping, Sequence

DETAIL_CHARS = 2000
MAX_COLUMNS, COLUMN_CHARS = 256, 100  # of those that a problem lists


def shortened(text: str, most_chars: int = DETAIL_CHARS) -> str:
    """``text``, without its middle if it is longer than ``most_chars``: begin and end say what it is about."""
    if len(text) <= most_chars:
        return text
    tail = most_chars // 4
    return f"{text[: most_chars - tail - 3]} … {text[-tail:]}"


def quoted(text: str, most_chars: int = 60) -> str:
    """A client's words as they are shown in a sentence."""
    return repr(shortened(text, most_chars))


def some_of(names: Sequence[str], most: int = 8, most_chars: int = 80) -> str:
    """``names`` joined for a sentence: the first ``most``, each cut after ``most_chars``; says how many are left."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(name[:most_chars] for name in names[:most]) + more


class Problem(Exception):
    """Base of every error that pointserve raises on purpose.

    ``detail`` is shown to the user as it stands; a client's words in it may be long, so it is ``shortened``.
    ``retry_after_s`` is sent as Retry-After if it is set. ``columns`` are those of a file whose names do not
    say what they hold, ``MAX_COLUMNS`` of them at most; ``options`` says of each option whose value is refused what was
    wrong.
    """

    status = 500
    title = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        retry_after_s: float | None = None,
        columns: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
    ):
        detail = shortened(detail)
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.columns = [shortened(name, COLUMN_CHARS) for name in columns[:MAX_COLUMNS]]
        self.options = dict(options or {})


class BadRequest(Problem):
    """The request itself is malformed: an unknown option, a value of the wrong kind."""

    status = 400
    title = "Bad request"


class Unauthorized(Problem):
    """A key is required and was missing or wrong."""

    status = 401
    title = "Unauthorized"


class Forbidden(Problem):
    """The operator does not allow this."""

    status = 403
    title = "Forbidden"


class NotFound(Problem):
    """No such model or resource."""

    status = 404
    title = "Not found"


class Conflict(Problem):
    """What is asked for does not go with what is under way."""

    status = 409
    title = "Conflict"


class TooLarge(Problem):
    """The body or the cloud is over a limit that the operator set."""

    status = 413
    title = "Too large"


class UnsupportedFormat(Problem):
    """The bytes are in no format that pointserve reads, or the format asked for is unknown."""

    status = 415
    title = "Unsupported format"


class BadCloud(Problem):
    """The bytes claim a known format but cannot be read as a point cloud."""

    status = 422
    title = "Unreadable point cloud"


class BadModel(Problem):
    """An experiment folder cannot be served: config, checkpoint or network type."""

    status = 422
    title = "Unusable model"


class UnreadableModel(BadModel):
    """Files of an experiment are missing, cannot be opened or end early: for a moment, if somebody is writing them."""


class Quarantined(Problem):
    """The input ended the process that computes, more than once."""

    status = 422
    title = "Quarantined input"


class Busy(Problem):
    """The queue is full; the client should come back."""

    status = 429
    title = "Busy"


class ClientGone(Problem):
    """The client hung up; nobody reads this answer, the status is for the log."""

    status = 499
    title = "Client closed request"


class NotOffered(Problem):
    """The service is not set up for what was asked for."""

    status = 501
    title = "Not offered"


class NotReady(Problem):
    """No engine can take work at the moment: starting, stopping, or its process was lost."""

    status = 503
    title = "Not ready"


class DeadlineExceeded(Problem):
    """The work could not be finished in the time allowed."""

    status = 504
    title = "Deadline exceeded"


class NoRoom(Problem):
    """The disk is full, or the folder for large files cannot be used; the operator has to make room."""

    status = 507
    title = "Insufficient storage"


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SHORT = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def storage_problem(error: OSError, what: str) -> Problem:
    """What the failure to store ``what`` ("the body") means: NoRoom, or NotReady if memory or descriptors lack."""
    reason = error.strerror or type(error).__name__
    if error.errno in SHORT:
        return NotReady(f"The server is short of resources for {what} ({reason}); try again.", retry_after_s=5.0)
    if error.errno in FULL:
        return NoRoom(f"The server has no room left for {what}: its disk is full. Try again later.", retry_after_s=30.0)
    return NoRoom(
        f"The server cannot store {what}: the folder for it is gone or cannot be written ({reason}). Try again later; "
        "its operator finds the folder in POINTSERVE_SPOOL_DIR.",
        retry_after_s=30.0,
    )


def no_descriptors() -> Problem:
    """What it means that this process could not take the file of a request."""
    return storage_problem(OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "this request")


def by_status(status: int) -> type[Problem]:
    """The class of what another service answered with ``status``; ``Problem`` for an unknown one."""
    return next((kind for kind in PROBLEMS.values() if kind.status == status), Problem)


def _with_subclasses(kind: type[Problem]) -> list[type[Problem]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _with_subclasses(below))]


PROBLEMS = {kind.__name__: kind for kind in _with_subclasses(Problem)}
"""The classes above by their names, by which they cross from one process to another."""
