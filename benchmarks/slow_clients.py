"""Clients that hold connections and send next to nothing on them."""

import socket
import time
from itertools import cycle, islice

SENT = (
    b"",
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n\x93NUMPY",
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc",
)
DRIP_S = 0.5


class SlowClient:
    """Sends ``begin``, then a byte now and then, or nothing where it is empty; comes back when it is dropped."""

    def __init__(self, address: tuple[str, int], begin: bytes):
        self._address = address
        self._begin = begin
        self._connect()

    def drip(self) -> None:
        """Send one byte more."""
        try:
            if self._begin:
                self._socket.send(b"a")
            if self._socket.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._socket.close()
        self._connect()

    def close(self) -> None:
        """Go away."""
        self._socket.close()

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._address)
        self._socket.sendall(self._begin)
        self._socket.setblocking(False)


def besiege(address: tuple[str, int], num_clients: int, seconds: float) -> None:
    """Have so many slow clients, of all kinds, at ``address`` for so long."""
    clients = [SlowClient(address, begin) for begin in islice(cycle(SENT), num_clients)]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for client in clients:
            client.drip()
        time.sleep(DRIP_S)
    for client in clients:
        client.close()
