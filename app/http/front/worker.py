"""Gunicorn's worker over the loop of this package, which no slow client can stop."""

import logging
import math
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from gunicorn.workers.base import Worker as GunicornWorker

from app.engine.service import Service
from app.http.front.exchange import Exchange
from app.http.front.loop import Loop
from app.http.front.pace import Crowd
from app.http.fronts import Fronts
from app.processes import signal_with_parent
from app.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

CLOSE_S = 3.0  # at least, between the closing of the port and that of connections
LEAVE_S = 2.0  # for those who are sending a request on a connection that was kept
ORPHAN_LEAVE_S = 0.2
STEP_S = 1.0

log = logging.getLogger(__name__)


class Worker(GunicornWorker):  # type: ignore[misc]
    """A thread for each request with a whole head; all other waits for clients are in the loop.

    ``settings``, ``service`` and ``fronts`` are given by the server before requests come.
    """

    settings: Settings
    service: Service
    fronts: Fronts | None
    wsgi: "WSGIApplication"
    is_draining = False
    loop: Loop | None = None

    def init_process(self) -> None:
        """Begin serving."""
        signal_with_parent(signal.SIGTERM)
        super().init_process()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: be not ready, go on answering until what runs is done, and only then close the port.

        Without a master nobody knows of this process, and another may need the port: it is closed at once then.
        """
        if self.is_draining or self.loop is None or self._is_orphan():
            self._leave()
            return
        self.is_draining = True
        threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def run(self) -> None:
        """Serve until SIGTERM, or until the master is gone; called by gunicorn."""
        crowd = Crowd()
        make_room = self.fronts.make_way if self.fronts else None
        exchange = Exchange(self.cfg, self.wsgi, crowd, self.settings, make_room)
        self.loop = Loop(self.sockets, exchange.serve, crowd, self.cfg.threads, self.settings, self.fronts)
        if self.fronts:
            self.fronts.start(self.loop, crowd)
        while self.alive and not self._is_orphan():
            self.notify()
            self.loop.step(STEP_S)
        leave_s = LEAVE_S
        if self._is_orphan():
            leave_s = ORPHAN_LEAVE_S
            log.error("The process above this one is gone: the port is closed, and what runs is finished.")
            threading.Thread(target=self.service.drain, args=(self.settings.grace_s,), daemon=True).start()
        exchange.is_last = True
        self.loop.stop(leave_s)
        if self.fronts:
            self.fronts.leave(leave_s)
        until_s = time.monotonic() + self.cfg.graceful_timeout
        while (self.loop.num_open or (self.fronts and self.fronts.num_running)) and time.monotonic() < until_s:
            self.notify()
            self.loop.step(STEP_S)

    def _is_orphan(self) -> bool:
        return os.getppid() != self.ppid

    def _drain(self) -> None:
        begin_s = time.monotonic()
        self.service.drain(self.settings.grace_s)
        time.sleep(max(0.0, self.settings.drain_delay_s - (time.monotonic() - begin_s)))
        left_s = self.settings.grace_s - (time.monotonic() - begin_s)
        self.cfg.set("graceful_timeout", math.ceil(max(CLOSE_S, left_s)))  # for answers that are being sent
        self._leave()

    def _leave(self) -> None:
        self.alive = False
        if self.loop:
            self.loop.wake()
