"""What commands that ask a server say while they wait for it."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .terminal import warn

if TYPE_CHECKING:
    from app.errors import Problem


def warn_once(url: str, patience_s: float) -> "Callable[[Problem, float], None]":
    """For ``on_wait`` of a client of ``url``: warns at the first failed attempt, and says how long it goes on."""
    has_warned = False

    from app.client.transport import patience_for

    def on_wait(problem: "Problem", wait_s: float) -> None:
        nonlocal has_warned
        if not has_warned:
            has_warned = True
            end_s = time.time() + patience_for(problem, patience_s)
            until = time.strftime("%H:%M:%S", time.localtime(end_s))
            warn(f"{url}: {problem.detail} It is asked again until {until}.")

    return on_wait
