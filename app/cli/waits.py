"""Warnings of commands that wait for a server, and its refusals as problems of this program."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .terminal import warn

if TYPE_CHECKING:
    import pointserve_client


def warn_once(url: str, patience_s: float) -> "Callable[[pointserve_client.Problem, float], None]":
    """For ``on_wait`` of a client of ``url``: warns at the first failed attempt, and says how long it goes on."""
    has_warned = False

    from pointserve_client import patience_for

    def on_wait(problem: "pointserve_client.Problem", wait_s: float) -> None:
        nonlocal has_warned
        if not has_warned:
            has_warned = True
            end_s = time.time() + patience_for(problem, patience_s)
            until = time.strftime("%H:%M:%S", time.localtime(end_s))
            warn(f"{url}: {problem.detail} It is asked again until {until}.")

    return on_wait


@contextmanager
def asking() -> Iterator[None]:
    """Raise what a server refuses within as this program's own Problem of that status."""
    import pointserve_client

    from app.errors import by_status

    try:
        yield
    except pointserve_client.Problem as problem:
        raise by_status(problem.status)(problem.detail) from problem
