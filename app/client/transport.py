"""HTTP for the client: bodies that are sent again, answers that are whole, patience with a server that is busy."""

import email.utils
import io
import json
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, urlsplit

from app.errors import BadRequest, NotReady, Problem, by_status

CHUNK_BYTES = 1 << 18
COME_AGAIN = (429, 503)
FIRST_BACK_OFF_S = 0.5
MAX_BACK_OFF_S = 20.0
CONNECT_S = 10.0
FIRST_CONTACT_S = 5.0  # how long a server is tried that was never reached: most often its address is wrong

Source = bytes | Path
OnSent = Callable[[int, int], None]
OnWait = Callable[[Problem, float], None]


class Unreached(NotReady):
    """The server could not be connected to, and never was before."""


@dataclass(frozen=True)
class Reply:
    """An answer: headers by name in lower case; ``content`` is empty where it went to a file."""

    status: int
    headers: dict[str, str]
    content: bytes


class Transport:
    """Asks the server at ``url``, with ``key`` where it is not empty; for any number of threads.

    ``timeout_s`` is for silence of the server; ``patience_s`` for all waits between attempts together, of each of which
    ``on_wait`` is told. A server that was never reached is tried for ``FIRST_CONTACT_S`` at most.
    """

    def __init__(self, url: str, key: str, timeout_s: float, patience_s: float, on_wait: OnWait):
        self.url = url.rstrip("/")
        self._parts = _parts(url)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._on_wait = on_wait
        self._was_reached = False

    def ask(
        self,
        method: str,
        path: str,
        body: Source | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        to: Path | None = None,
        on_sent: OnSent = lambda sent, total: None,
    ) -> Reply:
        """The answer to one request, sent again while the server says 429 or 503 or cannot be reached.

        A good answer goes to the file ``to`` where that is given, whole or not at all. ``on_sent`` is told the bytes
        sent and all of them, from 0 again at each attempt.

        Raises the Problem whose status the server answered, NotReady if it cannot be reached.
        """
        begin_s = time.monotonic()
        back_off_s = FIRST_BACK_OFF_S
        while True:
            try:
                return self._once(method, path, body, {**self._headers, **(headers or {})}, to, on_sent)
            except Problem as problem:
                wait_s = problem.retry_after_s
                if wait_s is None:
                    wait_s = back_off_s * random.uniform(0.5, 1)
                    back_off_s = min(2 * back_off_s, MAX_BACK_OFF_S)
                patience_s = patience_for(problem, self._patience_s)
                if problem.status not in COME_AGAIN or time.monotonic() + wait_s > begin_s + patience_s:
                    raise
                self._on_wait(problem, wait_s)
                time.sleep(wait_s)

    def _once(
        self,
        method: str,
        path: str,
        body: Source | None,
        headers: dict[str, str],
        to: Path | None,
        on_sent: OnSent,
    ) -> Reply:
        with ExitStack() as held:
            connection = self._connection()
            held.callback(connection.close)
            self._connect(connection)
            sent = None
            if body is not None:
                stream, size = opened(body)
                held.callback(stream.close)
                sent = Counted(stream, size, on_sent)
                headers["Content-Length"] = str(size)
            try:
                with suppress(BrokenPipeError, ConnectionResetError):  # refused while it was sent: the answer says why
                    connection.request(method, self._parts.path.rstrip("/") + path, sent, headers)
                response = connection.getresponse()
            except (OSError, HTTPException) as error:
                if sent and sent.error:
                    raise sent.error from None
                raise _broken_off(error) from error
            return _received(response, to)

    def _connect(self, connection: HTTPConnection) -> None:
        """Raise NotReady if the server is not reached, BadRequest if its address cannot be right."""
        try:
            connection.connect()
            connection.sock.settimeout(self._timeout_s)
            self._was_reached = True
        except ssl.SSLCertVerificationError as error:
            raise BadRequest(f"{self.url} is not to be trusted: {error}.") from error
        except ssl.SSLError as error:
            plain = self.url.replace("https", "http", 1)
            raise BadRequest(
                f"{self.url} does not speak TLS ({error.reason or error}): where it is plain HTTP, ask {plain}."
            ) from error
        except (socket.gaierror, UnicodeError) as error:
            raise BadRequest(f"{self.url} is not found: {error}.") from error
        except OSError as error:
            if self._was_reached:
                raise NotReady(f"The server was not reached: {error}.") from error
            raise Unreached(
                f"Nothing answers at {self.url}: {error.strerror or error}. Is the service running there, and is the "
                "address right?"
            ) from error

    def _connection(self) -> HTTPConnection:
        host, port = str(self._parts.hostname), self._parts.port
        if self._parts.scheme == "http":
            return HTTPConnection(host, port, timeout=CONNECT_S, blocksize=CHUNK_BYTES)
        context = ssl.create_default_context()
        return HTTPSConnection(host, port, timeout=CONNECT_S, blocksize=CHUNK_BYTES, context=context)


def patience_for(problem: Problem, patience_s: float) -> float:
    """How long requests that end in ``problem`` are sent again, of at most ``patience_s``."""
    return min(patience_s, FIRST_CONTACT_S) if isinstance(problem, Unreached) else patience_s


class Counted:
    """A stream whose bytes are counted as they are read; ``error`` is what reading it raised."""

    def __init__(self, stream: BinaryIO, size: int, on_sent: OnSent):
        self.error: OSError | None = None
        self._stream = stream
        self._size = size
        self._on_sent = on_sent
        self._num_sent = 0

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes."""
        try:
            data = self._stream.read(size)
        except OSError as error:
            self.error = error
            raise
        self._num_sent += len(data)
        self._on_sent(self._num_sent, self._size)
        return data


def _parts(url: str) -> SplitResult:
    """The parts of an address; raises BadRequest if it is none."""
    with suppress(ValueError):  # a port that is no number, brackets that do not close
        parts = urlsplit(url)
        is_plain = url.isprintable() and " " not in url
        if is_plain and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    raise BadRequest(f"{url!r} is no address of a server: expected http://HOST:PORT or https://HOST.")


def opened(body: Source) -> tuple[BinaryIO, int]:
    """``body`` from its beginning, and its size in bytes."""
    if isinstance(body, bytes):
        return io.BytesIO(body), len(body)
    stream = body.open("rb")
    return stream, stream.seek(0, io.SEEK_END) - stream.seek(0)


def retry_after_s(value: str | None) -> float | None:
    """Seconds that Retry-After states, as a number or as a date; None if it states none."""
    if value is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _received(response: HTTPResponse, to: Path | None) -> Reply:
    headers = {name.lower(): value for name, value in response.getheaders()}
    chunks = _chunks(response)
    if response.status >= 400:
        raise _problem(response.status, response.reason, headers, b"".join(chunks))
    if to is None:
        return Reply(response.status, headers, b"".join(chunks))
    if to.exists() and not to.is_file():  # a pipe or a device
        _write(to, chunks)
        return Reply(response.status, headers, b"")
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f"{to.name}.part")
    try:
        _write(part, chunks)
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)
    return Reply(response.status, headers, b"")


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    """The body of ``response``; raises NotReady if it ends early."""
    left = response.length
    while left != 0:
        try:
            chunk = response.read(CHUNK_BYTES)
        except (OSError, HTTPException) as error:
            raise _broken_off(error) from error
        if not chunk:
            break
        left = left - len(chunk) if left is not None else None
        yield chunk
    if left:
        raise _broken_off(f"{left} bytes of the answer are missing")


def _write(path: Path, chunks: Iterator[bytes]) -> None:
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)


def _broken_off(reason: object) -> NotReady:
    return NotReady(f"The server broke off: {str(reason) or type(reason).__name__}.")


def _problem(status: int, reason: str, headers: Mapping[str, str], content: bytes) -> Problem:
    detail = f"The server answered {status} {reason}."
    with suppress(ValueError, KeyError, TypeError):
        detail = str(json.loads(content)["detail"])
    problem = by_status(status)(detail, retry_after_s=retry_after_s(headers.get("retry-after")))
    problem.status = status
    return problem
