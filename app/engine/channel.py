"""Messages of ``app.engine.protocol`` and descriptors over one socket pair."""

import array
import json
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.engine.protocol import (
    Batch,
    Configure,
    Decode,
    Decoded,
    Encode,
    Encoded,
    Failure,
    Idle,
    LoadModel,
    MemoryNeeded,
    ModelCards,
    Ready,
    Segmented,
    UnloadModel,
)
from app.errors import TooLarge

MAX_MESSAGE_BYTES = 16 << 20
MAX_DESCRIPTORS = 64

_MESSAGES = {
    kind.__name__: kind
    for kind in (
        Idle,
        Decode,
        Decoded,
        Encode,
        Encoded,
        MemoryNeeded,
        Configure,
        Ready,
        Batch,
        Segmented,
        Failure,
        LoadModel,
        UnloadModel,
        ModelCards,
    )
}
_HEADER = struct.Struct("!IB")  # bytes of the payload, number of descriptors


class ChannelError(Exception):
    """The other side is gone, or sent what is no message; nothing more can be exchanged with it."""


class MessageTooLarge(TooLarge):
    """A message of more bytes than can be sent; nothing of it was sent."""


class Channel:
    """One end of a socket pair. Not thread-safe but for ``shutdown``.

    A message is a header (payload length, number of descriptors), which the descriptors travel with, and a JSON
    payload ``[type, fields]`` that is checked against the dataclass of that name. Deadlines are in seconds of
    ``time.monotonic``; one that passes raises TimeoutError and leaves the channel unusable.
    """

    def __init__(self, sock: socket.socket):
        self._socket = sock

    @classmethod
    def pair(cls) -> tuple["Channel", socket.socket]:
        """A channel and the socket of its other end, for a child process."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    def send(self, message: Any, descriptors: Sequence[int] = (), deadline_s: float | None = None) -> None:
        """Send one message; the descriptors are duplicated by the kernel and stay the caller's to close.

        Raises MessageTooLarge, which leaves the channel usable.
        """
        name = type(message).__name__
        payload = json.dumps([name, _adapter(name).dump_python(message)]).encode()
        if len(payload) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(
                f"What there is beside the points, such as the names of columns, takes {len(payload):,} bytes; at most "
                f"{MAX_MESSAGE_BYTES:,} are handled. Leave columns out, or give them shorter names."
            )
        data = memoryview(_HEADER.pack(len(payload), len(descriptors)) + payload)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            while data:
                self._limit(deadline_s)
                data = data[self._socket.sendmsg([data], rights) :]
                rights = []
        except TimeoutError:
            raise
        except OSError as error:
            raise ChannelError("the other process closed the channel") from error

    def receive(self, deadline_s: float | None = None) -> tuple[Any, list[int]]:
        """The next message and its descriptors, which are the caller's to close."""
        descriptors: list[int] = []
        try:
            size, expected = _HEADER.unpack(self._receive_header(descriptors, deadline_s))
            if size > MAX_MESSAGE_BYTES or len(descriptors) != expected:
                raise ChannelError(f"bad header: {size} bytes, {len(descriptors)} of {expected} descriptors")
            return _parse(self._receive_payload(size, deadline_s)), descriptors
        except BaseException as error:
            close_all(descriptors)
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                raise ChannelError("the other process closed the channel") from error
            raise

    def wait(self, seconds: float) -> bool:
        """Whether a message, or the end of the channel, arrives within so many seconds."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(1000 * seconds))

    def shutdown(self) -> None:
        """End both directions, which wakes whoever waits in ``receive`` here or there."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already closed by either side

    def close(self) -> None:
        """Give the descriptor back; may be called twice."""
        self._socket.close()

    def _limit(self, deadline_s: float | None) -> None:
        remaining_s = None if deadline_s is None else deadline_s - time.monotonic()
        if remaining_s is not None and remaining_s <= 0:
            raise TimeoutError("no answer from the other process in time")
        self._socket.settimeout(remaining_s)

    def _receive_header(self, descriptors: list[int], deadline_s: float | None) -> bytes:
        """Exactly one header; descriptors that come with it are appended as they arrive, so none can be lost."""
        data = b""
        space = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
        while len(data) < _HEADER.size:
            self._limit(deadline_s)
            wanted = _HEADER.size - len(data)
            chunk, ancillary, flags, _ = self._socket.recvmsg(wanted, space, socket.MSG_CMSG_CLOEXEC)
            for _level, _kind, content in ancillary:
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
                descriptors.extend(numbers)
            if not chunk or flags & socket.MSG_CTRUNC:
                raise ChannelError("the other process closed the channel" if not chunk else "too many descriptors")
            data += chunk
        return data

    def _receive_payload(self, size: int, deadline_s: float | None) -> bytearray:
        payload = bytearray(size)
        rest = memoryview(payload)
        while rest:
            self._limit(deadline_s)
            count = self._socket.recv_into(rest)
            if not count:
                raise ChannelError("the other process ended within a message")
            rest = rest[count:]
        return payload


def close_all(descriptors: Sequence[int]) -> None:
    """Close every descriptor."""
    for descriptor in descriptors:
        os.close(descriptor)


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_MESSAGES[name])


def _parse(payload: bytearray) -> Any:
    try:
        name, fields = json.loads(payload)
        return _adapter(name).validate_python(fields)
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError) as error:
        raise ChannelError(f"not a message: {error}") from error
