"""A look at something again and again, while something else runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def looking(look: Callable[[], object], step_s: float) -> Iterator[None]:
    """Call ``look`` at once and every ``step_s``, in a thread of its own, while the block runs."""
    over = threading.Event()

    def run() -> None:
        look()
        while not over.wait(step_s):
            look()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
