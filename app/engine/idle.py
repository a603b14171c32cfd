"""What is idle and waits for a thread that takes it, such as reader processes."""

import itertools
import threading
from bisect import insort
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Generic, TypeVar

from app.engine.deadline import Deadline

Thing = TypeVar("Thing")


class Idle(Generic[Thing]):
    """Things of which each is one thread's from ``take`` to ``put``. First come, first served, but for those in the
    background: they come behind all others, and leave ``kept`` things idle."""

    def __init__(self, kept: int):
        self._kept = kept
        self._lock = threading.Lock()
        self._things: deque[Thing] = deque()
        self._waiting: list[tuple[tuple[bool, int], Future[Thing]]] = []
        self._numbers = itertools.count()

    def put(self, thing: Thing) -> None:
        """``thing`` is idle."""
        with self._lock:
            self._things.append(thing)
            self._serve()

    def take(self, deadline: Deadline, late: str, *, is_background: bool = False) -> Thing:
        """Wait for a thing; raises what ``deadline.check(late)`` does."""
        deadline.check(late)
        with self._lock:
            if not self._waiting and self._may_give(is_background):
                return self._things.popleft()
            given: Future[Thing] = Future()
            waiting = ((is_background, next(self._numbers)), given)
            insort(self._waiting, waiting, key=lambda each: each[0])
            self._serve()
        try:
            while True:
                with suppress(FutureTimeoutError):
                    return given.result(deadline.poll_s)
                deadline.check(late)
        except BaseException:
            with self._lock:
                if waiting in self._waiting:
                    self._waiting.remove(waiting)
                else:
                    self._things.append(given.result())
                self._serve()
            raise

    def _serve(self) -> None:
        """Give what is idle to those whose turn it is."""
        while self._waiting and self._may_give(self._waiting[0][0][0]):
            _, given = self._waiting.pop(0)
            given.set_result(self._things.popleft())

    def _may_give(self, is_background: bool) -> bool:
        return len(self._things) > (self._kept if is_background else 0)
