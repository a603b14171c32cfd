"""One client's connection between its requests."""

import re
import socket
import time
from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum

from app.http.front.stream import let_wait

HEAD_BYTES = 32768
FIRST_BYTES = 16384  # of a body, or all of it, that are here before a place is taken for it

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_CODING = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


class After(Enum):
    """What becomes of a connection after a request."""

    KEEP = "keep"
    CLOSE = "close"
    DROP = "drop"


class Connection:
    """A socket, on which nothing here waits, and the bytes of the next request as far as they have arrived.

    Attributes:
        address, server: what the two ends are called, as ``getpeername`` and ``getsockname`` give it.
        data: at least the head, if it is there, and the first bytes of the body.
        has_head: whether it can be parsed: there is an empty line, or it is too long, or no HTTP already.
        was_asked: whether the application has been asked already, and waits for the body.
        has_ended: whether the client sends nothing more.
        num_discarded: bytes that came after the last answer.
        since_s, deadline_s: when it began to wait as it does now, and how long it may, of ``time.monotonic``.
    """

    def __init__(self, sock: socket.socket, address: object, server: object):
        let_wait(sock)
        self.sock = sock
        self.address = address
        self.server = server
        self.data = bytearray()
        self.has_ended = False
        self.num_discarded = 0
        self.since_s = self.deadline_s = 0.0
        self.was_asked = False
        self.put_back(b"")

    @property
    def lacks_body(self) -> bool:
        """Whether there is a head, but too little of the body that it announces."""
        return self.has_head and not self.has_ended and len(self.data) < self._enough

    @property
    def is_due(self) -> bool:
        """Whether the application is to be asked now; a client that waits for 100 Continue is not waited for."""
        return self.has_head and (not self.lacks_body or (self._waits and not self.was_asked))

    def receive(self) -> None:
        """Add what has arrived to ``data``, as much as is needed; raises OSError if the connection is broken."""
        while not self.has_ended and (not self.has_head or self.lacks_body):
            most = (self._enough if self.has_head else HEAD_BYTES) - len(self.data)
            try:
                data = self.sock.recv(most, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            self.has_ended = not data
            self.data += data
            self._look()

    def discard(self) -> None:
        """Read what has arrived and forget it; raises OSError if the connection is broken."""
        data = self.sock.recv(HEAD_BYTES, socket.MSG_DONTWAIT)
        self.num_discarded += len(data)
        self.has_ended = not data

    def take(self) -> bytes:
        """Give what has arrived to a request."""
        data = bytes(self.data)
        self.put_back(b"")
        return data

    def put_back(self, data: bytes) -> None:
        """Begin with ``data``: what was read beyond the last request, or of one that is to be asked for again."""
        self.data[:] = data
        self.has_head = self._waits = False
        self._num_seen = self._enough = self._chunk_at = 0
        self._look()

    def _look(self) -> None:
        """Find the end of the head, and how much of the body is enough."""
        if not self.has_head:
            self._find_head()
        if self._chunk_at:
            self._follow_chunks()

    def _find_head(self) -> None:
        begin, self._num_seen = max(0, self._num_seen - 3), len(self.data)
        end = self.data.find(b"\r\n\r\n", begin)
        if end >= 0:
            self.has_head = True
            head = bytes(self.data[: end + 4])
            length = _LENGTH.search(head)
            self._waits = bool(_CONTINUE.search(head))
            if _CODING.search(head):
                self._chunk_at, self._enough = len(head), len(head) + FIRST_BYTES
            elif length:
                self._enough = len(head) + min(FIRST_BYTES, int(length[1]))
            return
        place = self.data.find(b"\n", begin)
        while place >= 0 and self.data[place - 1 : place] == b"\r":
            place = self.data.find(b"\n", place + 1)
        self.has_head = place >= 0 or self._num_seen >= HEAD_BYTES

    def _follow_chunks(self) -> None:
        """Need nothing more once the chunks have ended, or turn out to be none."""
        while (end := self.data.find(b"\r\n", self._chunk_at)) >= 0:
            try:
                size = int(self.data[self._chunk_at : end].partition(b";")[0], 16)
            except ValueError:
                size = -1
            if size < 0 or (size == 0 and self.data.find(b"\r\n\r\n", end) >= 0):
                self._enough = 0
            if size <= 0:
                return
            self._chunk_at = end + 2 + size + 2

    def asks_for(self, paths: tuple[bytes, ...]) -> bool:
        """Whether the head is of a GET or HEAD of a path that ends in one of ``paths``."""
        words = bytes(self.data).split(b" ", 2)
        return len(words) == 3 and words[0] in (b"GET", b"HEAD") and words[1].partition(b"?")[0].endswith(paths)

    def posts_to(self, paths: tuple[bytes, ...]) -> bool:
        """Whether the head is of a POST to a path that ends in one of ``paths``."""
        words = bytes(self.data[:HEAD_BYTES]).split(b" ", 2)
        return len(words) == 3 and words[0] == b"POST" and words[1].partition(b"?")[0].endswith(paths)


class Waiting:
    """Connections that wait for one kind of event, each for ``patience_s``; the oldest comes first."""

    def __init__(self, patience_s: float):
        self.patience_s = patience_s
        self._connections: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._connections

    def add(self, connection: Connection) -> None:
        """Let ``connection`` wait from now on."""
        connection.since_s = time.monotonic()
        connection.deadline_s = connection.since_s + self.patience_s
        self._connections[connection] = None

    def remove(self, connection: Connection) -> None:
        """It waits no more."""
        del self._connections[connection]

    def oldest(self) -> Connection | None:
        """The connection that times out first."""
        return next(iter(self._connections), None)

    def expired(self) -> Iterator[Connection]:
        """Connections that have timed out; each is to be removed before the next."""
        while (connection := self.oldest()) and connection.deadline_s <= time.monotonic():
            yield connection

    def hurry(self, patience_s: float) -> None:
        """Let none wait longer than ``patience_s``, from now on."""
        self.patience_s = min(self.patience_s, patience_s)
        for connection in self._connections:
            connection.deadline_s = min(connection.deadline_s, time.monotonic() + self.patience_s)
