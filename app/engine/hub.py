"""One thread that receives the messages of several channels."""

import logging
import selectors
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from app.engine.channel import Channel, ChannelError

RECEIVE_S = 5.0  # for the rest of a message that has begun
LOOK_S = 1.0

log = logging.getLogger(__name__)


class _Member(NamedTuple):
    channel: Channel
    take: Callable[[Any, list[int]], None]
    gone: threading.Event


class Hub:
    """Receives from every channel that was added, in one thread: more would wait for each other to run."""

    def __init__(self, name: str):
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()  # of the selector's table
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def stop(self) -> None:
        """Receive no more, once every channel has ended."""
        self._is_over = True

    def add(self, channel: Channel, take: Callable[[Any, list[int]], None]) -> threading.Event:
        """Hand the messages of ``channel`` to ``take``, which is quick, with their descriptors, which are its to close.

        The event is set once the channel has ended or ``take`` has failed; then nothing is received from it any more,
        and it may be closed.
        """
        gone = threading.Event()
        with self._lock:
            self._selector.register(channel, selectors.EVENT_READ, _Member(channel, take, gone))
        return gone

    def _run(self) -> None:
        while not self._is_over or self._selector.get_map():
            for key, _ in self._selector.select(LOOK_S):
                if not self._receive(key.data):
                    with self._lock:
                        self._selector.unregister(key.data.channel)
                    key.data.gone.set()

    def _receive(self, member: _Member) -> bool:
        """Whether more may come."""
        try:
            message, fds = member.channel.receive(time.monotonic() + RECEIVE_S)
        except (ChannelError, TimeoutError):
            return False
        try:
            member.take(message, fds)
        except Exception:
            log.exception("what another process sent met a bug")
            return False
        return True
