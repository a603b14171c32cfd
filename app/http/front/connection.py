"""One client's connection between its requests."""

import socket
import time
from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum

HEAD_BYTES = 32768


class After(Enum):
    """What becomes of a connection after a request."""

    KEEP = "keep"
    CLOSE = "close"
    DROP = "drop"


class Connection:
    """A socket that does not block, and the bytes of the next request's head as far as they have arrived.

    Attributes:
        address, server: what the two ends are called, as ``getpeername`` and ``getsockname`` give it.
        head: may hold more than the head.
        has_head: whether it can be parsed: there is an empty line, or it is too long, or no HTTP already.
        has_ended: whether the client sends nothing more.
        num_discarded: bytes that came after the last answer.
    """

    def __init__(self, sock: socket.socket, address: object, server: object):
        sock.setblocking(False)
        self.sock = sock
        self.address = address
        self.server = server
        self.head = bytearray()
        self.has_ended = False
        self.num_discarded = 0
        self.deadline_s = 0.0
        self.has_head = False
        self._num_seen = 0

    def receive(self) -> None:
        """Add what has arrived to ``head``, up to HEAD_BYTES; raises OSError where the connection is broken."""
        while not self.has_head and not self.has_ended:
            try:
                data = self.sock.recv(HEAD_BYTES - len(self.head))
            except BlockingIOError:
                return
            self.has_ended = not data
            self.head += data
            self._look()

    def discard(self) -> None:
        """Read what has arrived and forget it; raises OSError where the connection is broken."""
        data = self.sock.recv(HEAD_BYTES)
        self.num_discarded += len(data)
        self.has_ended = not data

    def take_head(self) -> bytes:
        """Give what has arrived to a request."""
        head = bytes(self.head)
        self.put_head(b"")
        return head

    def put_head(self, head: bytes) -> None:
        """Begin with ``head``, which was read beyond the last request."""
        self.head[:] = head
        self._num_seen, self.has_head = 0, False
        self._look()

    def _look(self) -> None:
        begin, self._num_seen = max(0, self._num_seen - 3), len(self.head)
        if self.head.find(b"\r\n\r\n", begin) >= 0 or self._num_seen >= HEAD_BYTES:
            self.has_head = True
            return
        place = self.head.find(b"\n", begin)
        while place >= 0 and self.head[place - 1 : place] == b"\r":
            place = self.head.find(b"\n", place + 1)
        self.has_head = place >= 0

    def asks_for(self, paths: tuple[bytes, ...]) -> bool:
        """Whether the head is of a GET or HEAD of a path that ends in one of ``paths``."""
        words = bytes(self.head).split(b" ", 2)
        return len(words) == 3 and words[0] in (b"GET", b"HEAD") and words[1].partition(b"?")[0].endswith(paths)


class Waiting:
    """Connections that wait for the same, each for ``patience_s``; the oldest comes first."""

    def __init__(self, patience_s: float):
        self.patience_s = patience_s
        self._connections: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._connections

    def add(self, connection: Connection) -> None:
        """Let ``connection`` wait from now on."""
        connection.deadline_s = time.monotonic() + self.patience_s
        self._connections[connection] = None

    def remove(self, connection: Connection) -> None:
        """It waits no more."""
        del self._connections[connection]

    def oldest(self) -> Connection | None:
        """The one whose time is over first."""
        return next(iter(self._connections), None)

    def expired(self) -> Iterator[Connection]:
        """Those whose time is over; each is to be removed before the next."""
        while (connection := self.oldest()) and connection.deadline_s <= time.monotonic():
            yield connection

    def hurry(self, patience_s: float) -> None:
        """Let none wait longer than ``patience_s``, from now on."""
        self.patience_s = min(self.patience_s, patience_s)
        for connection in self._connections:
            connection.deadline_s = min(connection.deadline_s, time.monotonic() + self.patience_s)
