"""What workers have done, as the thread of the driver hears of it."""

import logging
import queue
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any, Literal

from app.errors import NotReady, Problem

log = logging.getLogger(__name__)

Work = Literal["decoded", "labelled"]


@dataclass(frozen=True)
class Done:
    """A tile that workers have ``decoded`` or ``labelled``, and what came of it: their answer, or a Problem."""

    work: Work
    number: int
    outcome: Any


class Inbox:
    """Futures that have ended, in that order. ``wake`` is for any thread, the rest for one."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[tuple[Work, int, str, Future[Any]] | None] = queue.SimpleQueue()

    def watch(self, work: Work, number: int, name: str, future: "Future[Any]") -> None:
        """Hear of the end of ``future``; ``name`` is that of the tile, for the log."""
        future.add_done_callback(lambda done: self._events.put((work, number, name, done)))

    def wake(self) -> None:
        """End a wait."""
        self._events.put(None)

    def wait(self, limit_s: float, gather_s: float) -> Iterator[Done]:
        """Wait for what ends next, at most ``limit_s``; this, and all that has ended ``gather_s`` later."""
        try:
            first = self._events.get(timeout=limit_s)
        except queue.Empty:
            return
        time.sleep(gather_s)
        if first:
            yield _done(*first)
        yield from self.rest()

    def rest(self) -> Iterator[Done]:
        """All that has ended, without waiting."""
        while not self._events.empty():
            if event := self._events.get_nowait():
                yield _done(*event)


def _done(work: Work, number: int, name: str, future: "Future[Any]") -> Done:
    try:
        return Done(work, number, future.result())
    except Problem as problem:
        return Done(work, number, problem)
    except CancelledError:
        return Done(work, number, NotReady("The survey is being stopped."))
    except BaseException as error:
        log.exception("tile %s", name, exc_info=error)
        return Done(work, number, Problem(f"{type(error).__name__}: {error}"))
