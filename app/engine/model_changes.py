"""Changes of models that wait until their engine can make them."""

import queue
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from app.engine.protocol import LoadModel, UnloadModel
from app.errors import NotReady, Problem

RETRY_AFTER_S = 5.0


class ModelChanges:
    """Models to load and unload on one engine, first come, first served. For any number of threads."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[LoadModel | UnloadModel, Future[None]]] = queue.SimpleQueue()

    def __bool__(self) -> bool:
        """Whether a change waits."""
        return not self._queue.empty()

    def add(self, message: LoadModel | UnloadModel) -> "Future[None]":
        """Let a change wait; the future ends when it is made, or in the problem if it cannot be."""
        done: Future[None] = Future()
        self._queue.put((message, done))
        return done

    def make_next(self, make: Callable[[LoadModel | UnloadModel], None]) -> None:
        """Make the next change by ``make``; what that raises, but for a Problem, is raised here too."""
        message, done = self._queue.get()
        try:
            make(message)
        except Problem as problem:
            done.set_exception(problem)
        except BaseException:
            detail = "The engine was lost while it changed its models."
            done.set_exception(NotReady(detail, retry_after_s=RETRY_AFTER_S))
            raise
        else:
            done.set_result(None)

    def refuse(self, why: str) -> None:
        """End every change that waits in NotReady."""
        with suppress(queue.Empty):
            while True:
                _, done = self._queue.get_nowait()
                detail = f"The engine is not ready to change its models. {why}"
                done.set_exception(NotReady(detail, retry_after_s=RETRY_AFTER_S))
