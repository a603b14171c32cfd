"""Reads the body of a request; raises if it ends early, is too large or too slow."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from flask import Request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestTimeout
from werkzeug.http import parse_options_header

from app.clouds.sniff import NAMELESS_JSON
from app.engine.body import Body, Spool, Storage
from app.errors import BadRequest, TooLarge
from app.http.connection import await_body
from app.http.form import FILENAME_CHARS, HOW_TO_SEND, Form
from app.http.inflate import Readable, inflated
from app.http.trace import body_was_read
from app.settings import MIB, Settings

Taken = TypeVar("Taken")


@dataclass(frozen=True)
class Upload:
    """What a request brought: the file, the name that its headers state, and the fields of its form."""

    body: Body
    filename: str
    form: MultiDict[str, str]


class BodyStream(Readable):
    """Reads the body of ``environ``, at most ``limit_bytes``.

    ``read`` raises TooLarge as soon as there is one byte more than the limit, BadRequest if the body ends before its
    Content-Length or breaks its chunked coding, and RequestTimeout if the client is too slow. ``on_bytes`` is
    called with the number of bytes read in all.
    """

    def __init__(
        self,
        environ: Mapping[str, Any],
        length: int | None,
        limit_bytes: int,
        on_bytes: Callable[[int], None] = lambda num_bytes: None,
    ):
        self.stream: IO[bytes] = environ["wsgi.input"]
        self.length = length
        self.limit_bytes = limit_bytes
        self.on_bytes = on_bytes
        self.num_read = 0
        self._receive: Callable[[memoryview], int] | None = environ.get("pointserve.receive")
        self.is_absent = length is None and not environ.get("wsgi.input_terminated", False)
        if length is not None and length > limit_bytes:
            raise _too_large(limit_bytes)

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, b"" at the end."""
        size = self._room if size < 0 else min(size, self._room)
        if size == 0:
            return b""
        data = _received(lambda: self.stream.read(size))
        self._count(len(data))
        return data

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` as far as bytes come soon; how many, 0 at the end. Raises what ``read`` does."""
        move, buffer = self._receive, buffer[: self._room]
        if move is None:
            return super().readinto(buffer)
        if not buffer:
            return 0
        num_bytes = _received(lambda: move(buffer))
        self._count(num_bytes)
        return num_bytes

    @property
    def _room(self) -> int:
        """Bytes that may come, and one more if it is not said how many do."""
        if self.is_absent:
            return 0
        return (self.limit_bytes + 1 if self.length is None else self.length) - self.num_read

    def _count(self, num_bytes: int) -> None:
        """So many more have come; 0 is the end."""
        self.num_read += num_bytes
        self.on_bytes(self.num_read)
        if self.num_read > self.limit_bytes:
            raise _too_large(self.limit_bytes)
        if not num_bytes and self.length is not None:
            raise BadRequest(
                f"The body ended after {self.num_read} bytes, its Content-Length says {self.length}: the upload was "
                "cut short. Send it again."
            )


def receive(
    request: Request,
    settings: Settings,
    storage: Storage,
    on_bytes: Callable[[int], None] = lambda num_bytes: None,
) -> Upload:
    """Take the file out of ``request``, whichever of the three ways it was sent, and put it into ``storage``.

    ``on_bytes`` follows its arrival.

    Raises:
        BadRequest: no file, several files, or a body that is cut short or malformed.
        RequestTimeout: nothing arrives for ``settings.upload_stall_s``, or less than ``settings.min_rate_bytes_s``.
        TooLarge: more than ``settings.max_body_mib``, also when the length is not stated.
        UnsupportedFormat: the body is compressed as a whole, and not by gzip or deflate.
        NoRoom: the disk is full, or the folder for large bodies is gone.
    """
    is_form = request.mimetype == "multipart/form-data"
    with body_stream(request, settings.max_body_mib * MIB, on_bytes) as stream:
        take = _receive_form if is_form else _receive_raw
        return take(request, stream, settings, storage)


@contextmanager
def body_stream(
    request: Request, limit_bytes: int, on_bytes: Callable[[int], None] = lambda num_bytes: None
) -> Iterator[Readable]:
    """The body of ``request``, inflated, at most ``limit_bytes``, to be read to its end; raises what ``receive`` does
    but for what is in the body."""
    received = BodyStream(request.environ, request.content_length, limit_bytes, on_bytes)
    stream = inflated(received, request.headers.get("Content-Encoding", ""), limit_bytes)
    await_body(request.environ)
    yield stream
    body_was_read()


def _received(take: Callable[[], Taken]) -> Taken:
    """What ``take`` gives, or the problem of a client that sends nothing more."""
    try:
        return take()
    except TimeoutError as slow:
        raise RequestTimeout(f"{slow} Send it again.") from None
    except Exception as error:
        raise BadRequest(
            "The body broke off: the connection was cut or its chunked coding is wrong. Send it again."
        ) from error


def _receive_raw(request: Request, stream: Readable, settings: Settings, storage: Storage) -> Upload:
    _, disposition = parse_options_header(request.headers.get("Content-Disposition"))
    named = NAMELESS_JSON if request.mimetype == "application/json" else ""  # a file of another format shows that
    filename = disposition.get("filename", named)[-FILENAME_CHARS:]
    num_bytes = request.content_length or 0
    body = Body.from_stream(stream, settings.max_body_mib * MIB, storage, num_bytes)
    return Upload(_not_empty(body), filename, MultiDict())


def _receive_form(request: Request, stream: Readable, settings: Settings, storage: Storage) -> Upload:
    with Spool(storage, request.content_length or 0) as spool:
        form = Form(spool)
        form.receive(stream, request.mimetype_params.get("boundary", ""))
        form.check()
        return Upload(_not_empty(spool.take()), form.filename, form.fields)


def _not_empty(body: Body) -> Body:
    if body.size == 0:
        body.close()
        raise BadRequest(f"The request holds no file, or an empty one. {HOW_TO_SEND}")
    return body


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit_bytes // MIB} MiB. Cut the cloud into tiles, or raise POINTSERVE_MAX_BODY_MIB."
    )
