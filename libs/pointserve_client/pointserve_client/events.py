"""Server-sent events of a job, read as they come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from pointserve_client.errors import MALFORMED, Problem

OnData = Callable[[dict[str, Any]], None]


class TimeIsOver(Exception):
    """Nobody waits for events any more."""


class Events:
    """Takes the bytes of a stream, and calls the function that ``handlers`` have for the name of each event.

    Raises TimeIsOver once the time ``end_s`` has come, Problem for what is no event of pointserve.

    Attributes:
        num_seen: events so far.
        is_over: whether the event ``end`` was among them.
    """

    def __init__(self, handlers: dict[str, OnData], end_s: float):
        self.num_seen = 0
        self.is_over = False
        self._handlers = handlers
        self._end_s = end_s
        self._rest = b""

    def take(self, chunk: bytes) -> None:
        """The next bytes."""
        *whole, self._rest = (self._rest + chunk).split(b"\n\n")
        for event in whole:
            fields = dict(line.partition(b": ")[::2] for line in event.split(b"\n"))
            if b"event" not in fields:  # a comment, which says that the connection lives
                continue
            try:
                name, data = fields[b"event"].decode(), {**json.loads(fields[b"data"])}
            except MALFORMED as error:
                raise Problem(f"What answered is no pointserve ({error}).", status=502) from error
            self.num_seen += 1
            self.is_over = self.is_over or name == "end"
            if handler := self._handlers.get(name):
                handler(data)
        if time.monotonic() >= self._end_s:
            raise TimeIsOver
