"""Gunicorn's threaded worker, made honest and patient with clients whose request was answered before it was read."""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

LINGER_S = 1.0
LINGER_BYTES = 1 << 20

_current = threading.local()


class Worker(ThreadWorker):
    """One thread a request; every wait for a client happens in that thread, never in the one that accepts."""

    def init_process(self) -> None:
        """Begin serving; what gunicorn itself refuses is told in the shape of every other error."""
        util.write_error = _write_problem
        super().init_process()

    def handle(self, conn: TConn) -> Any:
        """Serve one request; where the connection is to end, wait here for the client to take the answer."""
        keep = super().handle(conn)
        if not keep:
            _linger(conn.sock)
        return keep

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Serve one request, known to ``closing`` while it runs."""
        _current.request = req
        return super().handle_request(req, conn)


def closing(application: Callable) -> Callable:
    """``application`` with environ["pointserve.close"]: ends the connection after the answer, and says so."""

    def wrapped(environ: dict[str, Any], start_response: Callable) -> Any:
        environ["pointserve.close"] = _current.request.force_close
        return application(environ, start_response)

    return wrapped


def _write_problem(connection: socket.socket, status: int, reason: str, message: str) -> None:
    """Answer a request that is not even HTTP; takes the place of gunicorn's page."""
    problem = {"type": "about:blank", "title": reason, "status": status, "request_id": str(uuid4())}
    detail = message or "The server failed before it could read the request."
    body = json.dumps({**problem, "detail": detail, "error": detail}).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"X-Request-Id: {problem['request_id']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    util.write_nonblock(connection, head.encode() + body)


def _linger(connection: socket.socket) -> None:
    """Say that nothing follows, and read on for a moment: closing with unread bytes would reset the client's end before
    it has read the answer."""
    deadline_s = time.monotonic() + LINGER_S
    num_read = 0
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while num_read < LINGER_BYTES and (left_s := deadline_s - time.monotonic()) > 0:
            connection.settimeout(left_s)
            data = connection.recv(65536)
            if not data:
                break
            num_read += len(data)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)  # gunicorn reads once more before it closes; this makes it not wait
