"""The client's socket under one request: what gunicorn's parser reads from and its answers are written to."""

import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from gunicorn.http.errors import LimitRequestHeaders

from app.http.front.pace import Crowd, Patience, Transfer

DONTWAIT, WAITALL = int(socket.MSG_DONTWAIT), int(socket.MSG_WAITALL)  # plain numbers, which are joined much faster
GONE_FLAGS = socket.MSG_PEEK | socket.MSG_DONTWAIT
LOOK_S = 0.25  # how soon a transfer that waits notices that it is to give way


@dataclass(frozen=True)
class Words:
    """What is said of a client that was waited for long enough in one direction."""

    stalled: str
    slow: str
    gave_way: str


RECEIVING = Words(
    "Nothing more of the body arrived for {:g} s, the time allowed.",
    "The body arrived at less than {:g} bytes a second on average, the least that is waited for.",
    "The body arrived slowly while others waited for its place.",
)
SENDING = Words(
    "A client took nothing for {:g} s and was dropped.",
    "A client took its answer at less than {:g} bytes a second on average and was dropped.",
    "A client took its answer slowly while others waited for its place, and was dropped.",
)


Taken = TypeVar("Taken")


class Phase(Enum):
    """Of a request: its head is there and nothing more is read; its body may be waited for; neither any more."""

    HEAD = "head"
    BODY = "body"
    OVER = "over"


class TooSlow(TimeoutError):
    """A client that was waited for long enough; the text says how long."""


def let_wait(sock: socket.socket) -> None:
    """Have calls on ``sock`` wait in the kernel, for ``LOOK_S`` at most, unless they say MSG_DONTWAIT.

    Either way they raise BlockingIOError if nothing has moved.
    """
    sock.setblocking(True)
    for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, direction, struct.pack("@ll", 0, round(1e6 * LOOK_S)))


class Stream:
    """Reads and writes ``sock``, as ``let_wait`` made it, and waits for the client as long as the two patiences say."""

    def __init__(self, sock: socket.socket, receiving: Patience, sending: Patience, crowd: Crowd):
        self.phase = Phase.HEAD
        self.says_continue = True
        self._owed = b""  # what is to be said before the body is waited for
        self._sock = sock
        self._received = Transfer(receiving)
        self._sent = Transfer(sending)
        self._num_received = self._num_sent = 0
        self._crowd = crowd

    def recv(self, size: int) -> bytes:
        """Up to ``size`` bytes once there are some, b"" at the end; raises TooSlow."""
        data = self._once_there(lambda flags: self._sock.recv(size, flags))
        self._count(len(data))
        return data

    def recv_into(self, buffer: memoryview) -> int:
        """Fill ``buffer``, or as much of it as arrives within ``LOOK_S``; how many bytes, 0 at the end; raises TooSlow.

        The kernel waits for all of them in one call, so that the interpreter, which all requests share, is needed
        once and not for every packet.
        """
        num_bytes = self._once_there(lambda flags: self._sock.recv_into(buffer, 0, flags | WAITALL))
        self._count(num_bytes)
        return num_bytes

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``; raises TooSlow."""
        rest = memoryview(data)
        while rest:
            num_sent = self._send(rest)
            rest = rest[num_sent:]
            self._num_sent += num_sent
            if rest:
                self._sent.reached(self._num_sent - self._num_queued())
                _check(self._sent, SENDING, has_moved=num_sent > 0)

    def send(self, data: bytes) -> None:
        """What gunicorn says 100 Continue by: it is kept until the body is wanted."""
        if self.says_continue:
            self._owed = data

    def say_continue(self) -> None:
        """Ask for the body, if the client waits for that and was not asked before; raises TooSlow."""
        owed, self._owed = self._owed, b""
        if owed:
            self.sendall(owed)

    def is_gone(self) -> bool:
        """Whether the client has closed its connection; one that closes only its sending side counts as gone."""
        try:
            return self._sock.recv(1, GONE_FLAGS) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _once_there(self, take: Callable[[int], Taken]) -> Taken:
        """What ``take``, a call with these flags, gives once something is there."""
        if self.phase is Phase.HEAD:
            raise LimitRequestHeaders("the head is longer than what was read of it")
        if self.phase is Phase.BODY:
            self.say_continue()
        while True:
            flags = _flags(self._received) if self.phase is Phase.BODY else DONTWAIT
            try:
                with self._crowd.waiting(self._received):
                    return take(flags)
            except BlockingIOError:
                if self.phase is Phase.OVER:
                    raise TooSlow("The request is over.") from None
            _check(self._received, RECEIVING, has_moved=False)

    def _count(self, num_bytes: int) -> None:
        self._num_received += num_bytes
        self._received.reached(self._num_received)
        _check(self._received, RECEIVING, has_moved=True)

    def _send(self, data: memoryview) -> int:
        """Send what the client takes of ``data`` within ``LOOK_S``; how many bytes."""
        try:
            with self._crowd.waiting(self._sent):
                return self._sock.send(data, _flags(self._sent))
        except BlockingIOError:
            return 0

    def _num_queued(self) -> int:
        """Bytes of the answer that the client has not taken yet, though they are the kernel's already."""
        (num_bytes,) = struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4)))
        return int(num_bytes)


def _flags(transfer: Transfer) -> int:
    """Of a call that waits for the client, unless there is no patience for it."""
    return 0 if transfer.patience.stall_s else DONTWAIT


def _check(transfer: Transfer, words: Words, *, has_moved: bool) -> None:
    """Raise TooSlow if the client has been waited for long enough; ``has_moved`` says that something came just now."""
    patience = transfer.patience
    if transfer.gives_way:
        raise TooSlow(words.gave_way)
    if not has_moved and transfer.is_stalled(patience.stall_s):
        raise TooSlow(words.stalled.format(patience.stall_s))
    if transfer.is_slow(patience.stall_s):
        raise TooSlow(words.slow.format(patience.rate_bytes_s))
