"""The client's socket under one request: what gunicorn's parser reads from and its answers are written to."""

import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from gunicorn.http.errors import LimitRequestHeaders

from app.http.front.pace import Crowd, Patience, Transfer

LOOK_S = 0.25  # how soon a transfer that waits notices that it is to give way
STALLED = {
    select.POLLIN: "Nothing more of the body arrived for {:g} s, the time allowed.",
    select.POLLOUT: "A client took nothing for {:g} s and was dropped.",
}
SLOW = {
    select.POLLIN: "The body arrived at less than {:g} bytes a second on average, the least that is waited for.",
    select.POLLOUT: "A client took its answer at less than {:g} bytes a second on average and was dropped.",
}
GAVE_WAY = {
    select.POLLIN: "The body arrived slowly while others waited for its place.",
    select.POLLOUT: "A client took its answer slowly while others waited for its place, and was dropped.",
}


Taken = TypeVar("Taken")


class Phase(Enum):
    """Of a request: its head is there and nothing more is read; its body may be waited for; neither any more."""

    HEAD = "head"
    BODY = "body"
    OVER = "over"


class TooSlow(TimeoutError):
    """A client that was waited for long enough; the text says how long."""


class Stream:
    """Reads and writes ``sock``, which does not block, and waits for the client as long as the two patiences say."""

    def __init__(self, sock: socket.socket, receiving: Patience, sending: Patience, crowd: Crowd):
        self.phase = Phase.HEAD
        self.says_continue = True
        self._sock = sock
        self._received = Transfer(receiving)
        self._sent = Transfer(sending)
        self._num_received = self._num_sent = 0
        self._crowd = crowd

    def recv(self, size: int) -> bytes:
        """Up to ``size`` bytes, b"" at the end; raises TooSlow."""
        data = self._once_there(lambda: self._sock.recv(size))
        self._count(len(data))
        return data

    def splice(self, pipe: int, size: int) -> int:
        """Put up to ``size`` bytes into an empty ``pipe``, copying none; how many, 0 at the end; raises TooSlow.

        If there are none yet, it waits for all of them, but no longer than ``LOOK_S``: few large pieces take less of
        the interpreter, which all requests share, than many small ones.
        """
        num_bytes = self._once_there(lambda: os.splice(self._sock.fileno(), pipe, size), size)
        self._count(num_bytes)
        return num_bytes

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``; raises TooSlow."""
        rest = memoryview(data)
        while rest:
            try:
                num_sent = self._sock.send(rest)
            except BlockingIOError:
                self._wait(select.POLLOUT, self._sent)
            else:
                self._num_sent += num_sent
                rest = rest[num_sent:]

    def send(self, data: bytes) -> None:
        """What gunicorn says 100 Continue by."""
        if self.says_continue:
            self.sendall(data)

    def is_gone(self) -> bool:
        """Whether the client has closed its connection; one that closes only its sending side counts as gone."""
        try:
            return self._sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _once_there(self, take: Callable[[], Taken], wanted_bytes: int = 1) -> Taken:
        """What ``take`` gives, once something is there; for ``wanted_bytes`` it waits up to ``LOOK_S``."""
        if self.phase is Phase.HEAD:
            raise LimitRequestHeaders("the head is longer than what was read of it")
        while True:
            try:
                return take()
            except BlockingIOError:
                if self.phase is Phase.OVER:
                    raise TooSlow("The request is over.") from None
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted_bytes)
                try:
                    self._wait(select.POLLIN, self._received)
                finally:
                    self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def _count(self, num_bytes: int) -> None:
        self._num_received += num_bytes
        self._received.reached(self._num_received)

    def _wait(self, event: int, transfer: Transfer) -> None:
        """Return when the socket may be ready; raise TooSlow if the client has been waited for long enough."""
        patience = transfer.patience
        poll = select.poll()
        poll.register(self._sock, event)
        is_ready: object = False
        with self._crowd.waiting(transfer):
            while not is_ready:
                begin_s = time.monotonic()
                is_ready = poll.poll(1000 * min(LOOK_S, patience.stall_s)) or (
                    event == select.POLLIN and self._num_arrived() > 0
                )
                transfer.waited(time.monotonic() - begin_s)
                if event == select.POLLOUT:
                    transfer.reached(self._num_sent - self._num_queued())
                if transfer.gives_way:
                    raise TooSlow(GAVE_WAY[event])
                if not is_ready and transfer.is_stalled(patience.stall_s):
                    raise TooSlow(STALLED[event].format(patience.stall_s))
                if transfer.is_slow(patience.stall_s):
                    raise TooSlow(SLOW[event].format(patience.rate_bytes_s))

    def _num_arrived(self) -> int:
        """Bytes of the request that have not been read yet."""
        return self._asked(termios.FIONREAD)

    def _num_queued(self) -> int:
        """Bytes of the answer that the client has not taken yet, though they are the kernel's already."""
        return self._asked(termios.TIOCOUTQ)

    def _asked(self, what: int) -> int:
        (num_bytes,) = struct.unpack("i", fcntl.ioctl(self._sock, what, bytes(4)))
        return int(num_bytes)
