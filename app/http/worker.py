"""Gunicorn's threaded worker, made honest and patient with clients whose request was answered before it was read."""

import errno
import json
import math
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

from app.engine.service import Service
from app.settings import Settings

CLOSE_S = 3.0  # at least, between the closing of the port and that of connections
LINGER_S = 1.0
LINGER_BYTES = 1 << 20

_current = threading.local()


class Worker(ThreadWorker):
    """One thread a request; every wait for a client happens in that thread, never in the one that accepts.

    ``settings`` and ``service`` are given by the server before requests come.
    """

    settings: Settings
    service: Service
    is_draining = False

    def init_process(self) -> None:
        """Begin serving; what gunicorn itself refuses is told in the shape of every other error."""
        util.write_error = _write_problem
        super().init_process()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: be not ready, go on answering until what runs is done, and only then close the port."""
        if self.is_draining or not hasattr(self, "service"):
            super().handle_exit(sig, frame)
            return
        self.is_draining = True
        threading.Thread(target=self._drain, args=(sig,), name="drain", daemon=True).start()

    def _drain(self, sig: int) -> None:
        begin_s = time.monotonic()
        self.service.drain(self.settings.grace_s)
        time.sleep(max(0.0, self.settings.drain_delay_s - (time.monotonic() - begin_s)))
        left_s = self.settings.grace_s - (time.monotonic() - begin_s)
        self.cfg.set("graceful_timeout", math.ceil(max(CLOSE_S, left_s)))  # for answers that are being sent
        super().handle_exit(sig, None)

    def handle(self, conn: TConn) -> Any:
        """Serve one request; where the connection is to end, wait here for the client to take the answer."""
        if not conn.initialized:
            stall = struct.pack("ll", *divmod(int(1e6 * self.settings.send_stall_s), 1_000_000))
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, stall)
        keep = super().handle(conn)
        if not keep:
            _linger(conn.sock)
        return keep

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Serve one request, known to ``closing`` while it runs."""
        _current.request = req
        try:
            return super().handle_request(req, conn)
        except BlockingIOError:
            self.log.warning("A client took nothing for %g s and was dropped.", self.settings.send_stall_s)
            raise ConnectionResetError(errno.ECONNRESET, "the client stalled") from None


def closing(application: Callable) -> Callable:
    """``application`` with environ["pointserve.close"]: ends the connection after the answer, and says so."""

    def wrapped(environ: dict[str, Any], start_response: Callable) -> Any:
        environ["pointserve.close"] = _current.request.force_close
        return application(environ, start_response)

    return wrapped


def _write_problem(connection: socket.socket, status: int, reason: str, message: str) -> None:
    """Answer a request that is not even HTTP; takes the place of gunicorn's page."""
    problem = {"type": "about:blank", "title": reason.capitalize(), "status": status, "request_id": str(uuid4())}
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
