"""Messages of ``app.engine.protocol`` and ``web_protocol``, and descriptors, over one socket pair."""

import array
import json
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from app.engine.protocol import (
    Batch,
    Configure,
    Decode,
    Decoded,
    Encode,
    Encoded,
    Failure,
    Idle,
    Join,
    LoadModel,
    MemoryNeeded,
    ModelCards,
    Ready,
    Segmented,
    UnloadModel,
)
from app.engine.web_protocol import (
    Abandon,
    Ask,
    ConfigureFront,
    FrontReady,
    Leave,
    MakeRoom,
    Outcome,
    Submit,
    Told,
)
from app.errors import TooLarge

MAX_MESSAGE_BYTES = 16 << 20
MAX_DESCRIPTORS = 64
KINDS = (
    Idle,
    Decode,
    Decoded,
    Join,
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
    ConfigureFront,
    FrontReady,
    Submit,
    Abandon,
    Outcome,
    Ask,
    Told,
    Leave,
    MakeRoom,
)

_HEADER = struct.Struct("!IBB")  # bytes of the payload, number of descriptors, place in KINDS
_ADAPTERS: list[TypeAdapter[Any]] = [TypeAdapter(kind) for kind in KINDS]
_CUT = int(socket.MSG_CTRUNC)  # a plain number, which is compared much faster
_ANCILLARY_BYTES = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)


class ChannelError(Exception):
    """The other side is gone, or sent what is no message; nothing more can be exchanged with it."""


class MessageTooLarge(TooLarge):
    """A message of more bytes than can be sent; nothing of it was sent."""


class Channel:
    """One end of a socket pair. For one thread that sends and one that receives; ``shutdown`` is for any.

    A message is a header (payload length, number of descriptors, kind), which the descriptors travel with, and a
    payload, the fields that differ from their defaults as JSON, which is checked against the dataclass. Deadlines are
    in seconds of ``time.monotonic``; one that passes raises TimeoutError and leaves the channel unusable.

    If this process has no descriptors left for those of a message, that ends the channel, unless ``may_lack`` says that
    messages are taken without them.
    """

    def __init__(self, sock: socket.socket, *, may_lack: bool = False):
        sock.setblocking(False)
        self.may_lack = may_lack
        self._socket = sock
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)

    @classmethod
    def pair(cls) -> tuple["Channel", socket.socket]:
        """A channel and the socket of its other end, for a child process."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    def send(self, message: Any, descriptors: Sequence[int] = (), deadline_s: float | None = None) -> None:
        """Send one message; the descriptors are duplicated by the kernel and stay the caller's to close.

        Raises MessageTooLarge, which leaves the channel usable.
        """
        kind = KINDS.index(type(message))
        payload = json.dumps(_ADAPTERS[kind].dump_python(message, exclude_defaults=True)).encode()
        if len(payload) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(
                f"What there is beside the points, such as the names of columns, takes {len(payload):,} bytes; at most "
                f"{MAX_MESSAGE_BYTES:,} are handled. Leave columns out, or give them shorter names."
            )
        data = memoryview(_HEADER.pack(len(payload), len(descriptors), kind) + payload)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            while data:
                try:
                    data = data[self._socket.sendmsg([data], rights) :]
                    rights = []
                except BlockingIOError:
                    _await(self._writable, deadline_s)
        except TimeoutError:
            raise
        except OSError as error:
            raise ChannelError("the other process closed the channel") from error

    def receive(self, deadline_s: float | None = None) -> tuple[Any, list[int]]:
        """The next message and its descriptors, which are the caller's to close."""
        descriptors: list[int] = []
        try:
            size, expected, kind = _HEADER.unpack(self._receive_header(descriptors, deadline_s))
            is_whole = len(descriptors) == expected or (self.may_lack and len(descriptors) < expected)
            if size > MAX_MESSAGE_BYTES or not is_whole:
                raise ChannelError(f"bad header: {size} bytes, {len(descriptors)} of {expected} descriptors")
            return _parse(kind, self._receive_payload(size, deadline_s)), descriptors
        except BaseException as error:
            close_all(descriptors)
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                raise ChannelError("the other process closed the channel") from error
            raise

    def wait(self, seconds: float) -> bool:
        """Whether a message, or the end of the channel, arrives within so many seconds."""
        return bool(self._readable.poll(1000 * seconds))

    @property
    def takes_more(self) -> bool:
        """Whether a small message can be sent without waiting, or the channel has ended."""
        return bool(self._writable.poll(0))

    def fileno(self) -> int:
        """Its descriptor, for a selector."""
        return self._socket.fileno()

    def shutdown(self) -> None:
        """End both directions, which wakes whoever waits in ``receive`` here or there."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already closed by either side

    def close(self) -> None:
        """Give the descriptor back; may be called twice."""
        self._socket.close()

    def _receive_header(self, descriptors: list[int], deadline_s: float | None) -> bytes:
        """Exactly one header; descriptors that come with it are appended as they arrive, so none can be lost."""
        data = b""
        while len(data) < _HEADER.size:
            try:
                chunk, ancillary, flags, _ = self._socket.recvmsg(
                    _HEADER.size - len(data), _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                _await(self._readable, deadline_s)
                continue
            for _level, _kind, content in ancillary:
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
                descriptors.extend(numbers)
            if not chunk or (flags & _CUT and not self.may_lack):
                raise ChannelError("the other process closed the channel" if not chunk else "too many descriptors")
            data += chunk
        return data

    def _receive_payload(self, size: int, deadline_s: float | None) -> bytearray:
        payload = bytearray(size)
        rest = memoryview(payload)
        while rest:
            try:
                count = self._socket.recv_into(rest)
            except BlockingIOError:
                _await(self._readable, deadline_s)
                continue
            if not count:
                raise ChannelError("the other process ended within a message")
            rest = rest[count:]
        return payload


def close_all(descriptors: Sequence[int]) -> None:
    """Close every descriptor."""
    for descriptor in descriptors:
        os.close(descriptor)


def _await(poll: select.poll, deadline_s: float | None) -> None:
    """Return once the socket is ready; raises TimeoutError at the deadline."""
    remaining_s = None if deadline_s is None else deadline_s - time.monotonic()
    if remaining_s is not None and (remaining_s <= 0 or not poll.poll(1000 * remaining_s)):
        raise TimeoutError("no answer from the other process in time")
    if remaining_s is None:
        poll.poll()


def _parse(kind: int, payload: bytearray) -> Any:
    try:
        return _ADAPTERS[kind].validate_json(payload)
    except (ValueError, IndexError) as error:
        raise ChannelError(f"not a message: {error}") from error
