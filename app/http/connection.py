"""The client's socket under a request, where the server is one that shows it (gunicorn)."""

import socket
from collections.abc import Callable, Mapping
from typing import Any


def hung_up(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """A function that says whether the client of this request, whose body has been read, has closed its connection.

    One that closes only its sending side counts as gone: the two look alike from here.
    """
    connection: socket.socket | None = environ.get("gunicorn.socket")

    def is_gone() -> bool:
        if connection is None:
            return False
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    return is_gone
