"""The two ways to wait: in the thread, or in an event loop.

The rest of the package is coroutines over a ``Driver``. Those over ``Blocking`` never suspend, so ``run`` needs no
event loop to bring them to their end.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import httpx2

from pointserve_client.upload import OnSent, Upload

IDLE_S = 30.0  # less than servers and proxies keep idle connections, so that none is closed while it is taken again
REFUSAL_S = 5.0
LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=IDLE_S)

P = ParamSpec("P")
T = TypeVar("T")
Self = TypeVar("Self")


class Driver(Protocol):
    """Sends, reads and waits; ``stacklevel`` is that of a warning for the caller of the client."""

    stacklevel: int

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        upload: Upload | None,
        on_sent: OnSent,
        timeout: httpx2.Timeout,
    ) -> httpx2.Response:
        """The answer's head. Its body is in ``chunks``; ``release`` has to follow."""

    def chunks(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        """The body of ``response``, without its content coding."""

    async def release(self, response: httpx2.Response) -> None:
        """Give the connection of ``response`` back, or close it if something of the body is left."""

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``function``, which may wait for a disk."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def close(self) -> None:
        """Close all connections."""


class Blocking:
    """Waits in the calling thread; for any number of threads."""

    stacklevel = 4

    def __init__(self) -> None:
        self._http = httpx2.Client(limits=LIMITS)

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        upload: Upload | None,
        on_sent: OnSent,
        timeout: httpx2.Timeout,
    ) -> httpx2.Response:
        content = _chunks(upload, on_sent) if upload else None
        return self._http.send(
            self._http.build_request(method, url, headers=headers, content=content, timeout=timeout), stream=True
        )

    async def chunks(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        for chunk in response.iter_bytes():
            yield chunk

    async def release(self, response: httpx2.Response) -> None:
        response.close()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def close(self) -> None:
        self._http.close()


class Suspending:
    """Waits in an event loop of asyncio, and for disks in its threads."""

    stacklevel = 2

    def __init__(self) -> None:
        self._http = httpx2.AsyncClient(limits=LIMITS)

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        upload: Upload | None,
        on_sent: OnSent,
        timeout: httpx2.Timeout,
    ) -> httpx2.Response:
        content = self._chunks(upload, on_sent) if upload else None
        request = self._http.build_request(method, url, headers=headers, content=content, timeout=timeout)
        try:
            return await self._http.send(request, stream=True)
        except httpx2.NetworkError as error:
            if not upload or upload.num_sent == upload.size:
                raise
            is_over = threading.Event()
            try:
                return await self.call(_refusal, method, url, headers, upload, is_over)
            except httpx2.TimeoutException:  # the server takes it this time
                raise error from None
            finally:
                is_over.set()

    async def _chunks(self, upload: Upload, on_sent: OnSent) -> AsyncIterator[bytes]:
        while chunk := await self.call(upload.read):
            on_sent(upload.num_sent, upload.size)
            yield chunk

    def chunks(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        return response.aiter_bytes()

    async def release(self, response: httpx2.Response) -> None:
        await response.aclose()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._http.aclose()


def _refusal(
    method: str, url: str, headers: Mapping[str, str], upload: Upload, is_over: threading.Event
) -> httpx2.Response:
    """The answer to a body that the server did not want to its end.

    Such an answer is there before the connection breaks. A blocking socket gives it, asyncio drops it: so the request
    is sent again by one, until ``is_over``. Raises TimeoutException if the server is silent for ``REFUSAL_S``.
    """

    def check(sent: int, total: int) -> None:
        if is_over.is_set():
            raise httpx2.WriteTimeout("cancelled")

    upload.rewind()
    with httpx2.Client(timeout=REFUSAL_S) as http:
        response = http.request(method, url, headers=headers, content=_chunks(upload, check))
    response.headers.pop("Content-Encoding", None)
    return httpx2.Response(response.status_code, headers=response.headers, content=response.content)


def _chunks(upload: Upload, on_sent: OnSent) -> Iterator[bytes]:
    while chunk := upload.read():
        on_sent(upload.num_sent, upload.size)
        yield chunk


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine over Blocking was suspended")


def blocking(
    function: Callable[Concatenate[Self, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Self, P], T]:
    """The coroutine ``function`` as one that returns its result, for objects with the driver ``Blocking``."""

    @functools.wraps(function)
    def call(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(function(self, *args, **kwargs))

    return call
