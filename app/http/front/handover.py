"""Connections that go from one web process to another, with what has arrived on them."""

import array
import json
import logging
import socket
from contextlib import suppress
from typing import Protocol

from app.http.front.connection import Connection

MOST_BYTES = 1 << 18  # of a message
WAITING_BYTES = 1 << 20  # on their way, if the kernel allows it; its default is for ten connections with much of a body
PREDICTIONS = (b"/predict", b"/infer")

log = logging.getLogger(__name__)

_RIGHTS = socket.CMSG_SPACE(array.array("i").itemsize)


class Beside(Protocol):
    """The other web processes, as the loop of one sees them."""

    @property
    def num_connections(self) -> int:
        """That they have."""

    def take_over(self, connection: Connection) -> bool:
        """Whether one of them has ``connection``, whose head is here, from now on; it is to be closed here then."""

    def make_room(self) -> None:
        """Have them close a connection that would not be missed."""


class Nobody:
    """No other process."""

    num_connections = 0

    def take_over(self, connection: Connection) -> bool:
        """Never."""
        return False

    def make_room(self) -> None:
        """There is none."""


class Handover:
    """One end of a socket over which connections go both ways; nothing here waits. Each direction is for one thread."""

    def __init__(self, sock: socket.socket):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WAITING_BYTES)
        self.sock = sock

    @classmethod
    def pair(cls) -> tuple["Handover", socket.socket]:
        """One end, and the socket of the other, for a child process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def send(self, connection: Connection) -> bool:
        """Hand ``connection`` over; whether the other end has it from now on."""
        words = json.dumps([connection.address, connection.server]).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [connection.sock.fileno()]))]
        try:
            self.sock.sendmsg([words, b"\n", connection.data], rights)
        except OSError:  # it takes no more at the moment, or is gone
            return False
        return True

    def receive(self) -> Connection | None:
        """The next connection that is here; None if there is none. Raises EOFError if the other end is gone."""
        while True:
            descriptors = array.array("i")
            try:
                data, ancillary, _, _ = self.sock.recvmsg(MOST_BYTES, _RIGHTS, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return None
            except OSError:
                raise EOFError from None
            if not data:
                raise EOFError
            for _level, _kind, content in ancillary:
                descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
            if descriptors:
                break
            log.warning("A connection was lost: there are no descriptors left.")
        words, _, data = data.partition(b"\n")
        address, server = map(_address, json.loads(words))
        connection = Connection(socket.socket(fileno=descriptors[0]), address, server)
        connection.put_back(data)
        return connection

    def close(self) -> None:
        """Give the descriptor back; may be called twice."""
        with suppress(OSError):
            self.sock.close()


def _address(words: object) -> object:
    """What ``getpeername`` gives, from JSON."""
    return tuple(words) if isinstance(words, list) else words
