"""The port that clients connect to."""

import errno
import logging
import math
import select
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from app.http.front.connection import Connection

REST_S = 0.2
TELL_S = 10.0  # without a rest, before the next one is worth a line in the log
ACCEPTS = 64  # in one step
OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logging.getLogger(__name__)


class Port:
    """Accepts connections as they come, and rests for a moment where there is no room for one more."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        selector: selectors.BaseSelector,
        take: Callable[[Connection], None],
        full: Callable[[], str],
        make_room: Callable[[], bool],
    ):
        """``selector`` calls what is registered with it. ``take`` gets every connection; ``full`` says why there is no
        room for one more, '' if there is; ``make_room`` closes one, or says that none can be closed at once."""
        self._listeners = listeners
        self._selector = selector
        self._take = take
        self._full = full
        self._make_room = make_room
        self._is_watched = self._is_closed = False
        self._rests_until_s = -TELL_S

    @property
    def rest_s(self) -> float:
        """The longest time until ``watch`` is to be called."""
        return math.inf if self._is_watched or self._is_closed else REST_S

    def watch(self) -> None:
        """Accept what comes from now on, unless it rests or is closed."""
        is_watched = not self._is_closed and time.monotonic() >= self._rests_until_s
        if is_watched == self._is_watched:
            return
        self._is_watched = is_watched
        for listener in self._listeners:
            if is_watched:
                listener.setblocking(False)
                self._selector.register(listener, selectors.EVENT_READ, self._accept)
            else:
                self._selector.unregister(listener)

    def close(self) -> None:
        """Accept nothing any more."""
        self._is_closed = True
        self.watch()
        for listener in self._listeners:
            listener.close()

    def _accept(self, listener: Any) -> None:
        for _ in range(ACCEPTS):
            if not _is_waited_for(listener):  # so that nobody gives way to nobody
                return
            if (why := self._full()) and not self._make_room():
                self._rest(f"{why}, and none can be closed at once")
                return
            try:
                sock, address = listener.accept()
            except OSError as error:
                if error.errno in OUT_OF and not self._make_room():
                    self._rest(f"no connection can be accepted ({error.strerror})")
                return
            self._take(Connection(sock, address, listener.getsockname()))

    def _rest(self, why: str) -> None:
        now_s = time.monotonic()
        if now_s - self._rests_until_s > TELL_S:
            log.warning("%s; new ones wait.", why)
        self._rests_until_s = now_s + REST_S
        self.watch()


def _is_waited_for(listener: socket.socket) -> bool:
    """Whether a client waits at the port; without a descriptor left, ``accept`` fails before it looks."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
