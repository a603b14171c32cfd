"""One request: sent again while the server is busy, and its answer whole or not at all."""

from __future__ import annotations

import math
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2

from pointserve_client.answer import OnReceived, answer_of
from pointserve_client.driver import Driver
from pointserve_client.errors import BadAddress, NotReady, Problem, Unauthorized, Unreached, problem_of
from pointserve_client.upload import OnSent, Upload
from pointserve_client.waits import OnWait, Patience

CONNECT_S = 10.0


@dataclass(frozen=True)
class Request:
    """What is asked; ``to`` is the file for a good answer, ``take`` is called with its pieces in place of a file,
    ``accepted`` is a status above 399 that has an answer in JSON.

    ``check`` looks at the headers of an answer that goes to a file, and raises Problem if they are not those of one.

    The server may be silent for ``silence_s``, and no longer than its client says.
    """

    method: str
    path: str
    upload: Upload | None = None
    headers: Mapping[str, str] | None = None
    to: Path | None = None
    take: Callable[[bytes], None] | None = None
    accepted: int = 200
    silence_s: float = math.inf
    on_sent: OnSent = lambda sent, total: None
    on_received: OnReceived = lambda received, total: None
    check: Callable[[Mapping[str, str]], object] = answer_of


@dataclass(frozen=True)
class Reply:
    """An answer: ``content`` is empty if it went elsewhere."""

    headers: Mapping[str, str]
    content: bytearray


class Transport:
    """Asks the server at ``url`` with ``key``, unless that is empty; ``on_wait`` is called before each pause."""

    def __init__(self, driver: Driver, url: str, key: str, timeout_s: float, on_wait: OnWait):
        self._driver = driver
        self._url = checked(url).rstrip("/")
        self._shown_url = re.sub(r"//[^/]*@", "//", self._url)  # without a password
        self._headers = {"Authorization": f"Bearer {checked_key(key)}"} if key else {}
        self._timeout_s = timeout_s
        self._on_wait = on_wait
        self._was_reached = False

    def elsewhere(self, url: str) -> Transport:
        """One for another server, at ``url``, which gets no key."""
        return Transport(self._driver, url, "", self._timeout_s, self._on_wait)

    async def ask(self, request: Request, patience_s: float) -> Reply:
        """The answer to one request, sent again while the server says 429, 503 or 409 with Retry-After, or cannot
        be reached.

        Raises:
            Problem: the one that the server answered; NotReady if it is not reached or the connection broke.
            OSError: the cloud cannot be read, or the file for the answer cannot be written.
        """
        patience = Patience(patience_s)
        while True:
            try:
                return await self._once(request)
            except Problem as problem:
                wait_s = patience.wait_s(problem)
                if wait_s is None:
                    raise
                self._on_wait(problem, wait_s)
                await self._driver.sleep(wait_s)

    async def _once(self, request: Request) -> Reply:
        headers = {**self._headers, **(request.headers or {})}
        if request.upload:
            await self._driver.call(request.upload.rewind)
            headers["Content-Length"] = str(request.upload.size)
        url = self._url + request.path
        silence_s = min(self._timeout_s, request.silence_s)
        timeout = httpx2.Timeout(silence_s, connect=min(CONNECT_S, silence_s), pool=None)
        try:
            response = await self._driver.send(request.method, url, headers, request.upload, request.on_sent, timeout)
            self._was_reached = True
            try:
                return await self._received(response, request)
            finally:
                await self._driver.release(response)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise self._unreached(error) from error
        except httpx2.TimeoutException as error:
            raise NotReady(f"The server broke off: it was silent for {silence_s:.3g} s.") from error
        except httpx2.HTTPError as error:
            raise NotReady(f"The server broke off: {str(error).rstrip('.') or type(error).__name__}.") from error

    async def _received(self, response: httpx2.Response, request: Request) -> Reply:
        status, headers = response.status_code, response.headers
        is_json = headers.get("content-type", "").startswith("application/json")
        is_good = status < 300 or (status == request.accepted and is_json)
        if 300 <= status < 400:
            raise BadAddress(f"{self._shown_url} is elsewhere: ask {headers.get('location', 'there')}.", status=status)
        chunks = self._counted(response, request.on_received)
        if is_good and request.to:
            request.check(headers)
            if "content-length" not in headers and "transfer-encoding" not in headers:
                raise Problem("Something on the way took the length from the answer: it may not be whole.", status=502)
            await self._save(request.to, chunks)
            return Reply(headers, bytearray())
        if is_good and request.take:
            async for chunk in chunks:
                request.take(chunk)
            return Reply(headers, bytearray())
        content = bytearray()
        async for chunk in chunks:
            content += chunk
        if not is_good:
            raise problem_of(status, response.reason_phrase, headers, content)
        return Reply(headers, content)

    async def _counted(self, response: httpx2.Response, on_received: OnReceived) -> AsyncIterator[bytes]:
        is_plain = "content-encoding" not in response.headers
        size = response.headers.get("content-length", "")
        total = int(size) if is_plain and size.isdecimal() else None
        num_received = 0
        async for chunk in self._driver.chunks(response):
            num_received += len(chunk)
            on_received(num_received, total)
            yield chunk

    async def _save(self, to: Path, chunks: AsyncIterator[bytes]) -> None:
        """Write ``chunks`` to the file ``to``, whole or not at all; a pipe or a device is written to."""
        call = self._driver.call
        if to.exists() and not to.is_file():
            await self._write(await call(to.open, "wb"), chunks)
            return
        to = to.resolve()  # not a link to the file, such as /dev/stdout, is replaced
        await call(to.parent.mkdir, parents=True, exist_ok=True)
        part = to.with_name(f"{to.name[:40]}.{uuid4().hex}.part")  # a name of its own: others may write the same file
        file = part.open("xb")
        try:
            await self._write(file, chunks)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)

    async def _write(self, file: BinaryIO, chunks: AsyncIterator[bytes]) -> None:
        with file:
            async for chunk in chunks:
                await self._driver.call(file.write, chunk)

    def _unreached(self, error: httpx2.TransportError) -> Problem:
        """NotReady if the server may be reached later, BadAddress if its address cannot be right."""
        cause = first_cause(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return BadAddress(f"{self._shown_url} is not to be trusted: {cause}.")
        if isinstance(cause, ssl.SSLError):
            plain = self._shown_url.replace("https", "http", 1)
            reason = cause.reason or cause
            return BadAddress(f"{self._shown_url} does not speak TLS ({reason}): if it is plain HTTP, ask {plain}.")
        if isinstance(cause, socket.gaierror):
            return BadAddress(f"{self._shown_url} is not found: {cause}.")
        if self._was_reached:
            return NotReady(f"The server was not reached: {cause}.")
        why = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause) or "timed out"
        return Unreached(
            f"Nothing answers at {self._shown_url}: {why}. Is the service running there, and is the address right?"
        )


def first_cause(error: BaseException) -> BaseException:
    """What the system said, beneath the errors that libraries raise from it; else the last of these.

    Beneath that may be what the caller was handling, which is no part of it.
    """
    while not (isinstance(error, OSError) and (error.errno or isinstance(error, TimeoutError))):
        within = getattr(error, "exceptions", ())
        beneath = within[0] if within else error.__cause__ or error.__context__
        if beneath is None:
            return error
        error = beneath
    return error


def checked(url: str) -> str:
    """``url``; raises BadAddress if it is no address of a server."""
    # a port that is no number, brackets that do not close, a name with an empty or long part
    with suppress(ValueError, httpx2.InvalidURL):
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        is_plain = url.isprintable() and " " not in url and not (parts.query or parts.fragment)
        if is_plain and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and httpx2.URL(url):
            return url
    raise BadAddress(f"{url!r} is no address of a server: expected http://HOST:PORT or https://HOST.")


def checked_key(key: str) -> str:
    """``key``; raises Unauthorized if it has characters that a header cannot carry."""
    if key.isascii() and key.isprintable() and key == key.strip():
        return key
    raise Unauthorized(
        "The key has characters that cannot be sent: expected printable ASCII characters on one line, no spaces around."
    )
