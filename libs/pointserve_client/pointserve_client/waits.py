"""How long a request is sent again, and after which pauses."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pointserve_client.errors import Problem

PATIENCE_S = 120.0
FIRST_CONTACT_S = 5.0  # for a server that was never reached: most often its address is wrong
FIRST_BACK_OFF_S = 0.5
MAX_BACK_OFF_S = 20.0
COME_AGAIN = (429, 503)
CONFLICT = 409  # with Retry-After: what is under way ends soon

OnWait = Callable[["Problem", float], None]


class Patience:
    """The pauses of one request, which is sent again for ``patience_s`` from when this object is made."""

    def __init__(self, patience_s: float):
        self._patience_s = patience_s
        self._begin_s = time.monotonic()
        self._back_off_s = FIRST_BACK_OFF_S

    def wait_s(self, problem: Problem) -> float | None:
        """Seconds to the next attempt: Retry-After, else longer and longer. None if there is none.

        Retry-After may be 0, or a date that has passed by this machine's clock: some pause is made even so.
        """
        if problem.retry_after_s is not None:
            wait_s = max(problem.retry_after_s, FIRST_BACK_OFF_S)
        else:
            wait_s = self._back_off_s * random.uniform(0.5, 1)
            self._back_off_s = min(2 * self._back_off_s, MAX_BACK_OFF_S)
        end_s = self._begin_s + patience_for(problem, self._patience_s)
        comes_again = problem.status in COME_AGAIN or (problem.status == CONFLICT and problem.retry_after_s is not None)
        return wait_s if comes_again and time.monotonic() + wait_s <= end_s else None


def patience_for(problem: Problem, patience_s: float) -> float:
    """Seconds for which requests that end in ``problem`` are sent again, ``patience_s`` at most."""
    from pointserve_client.errors import Unreached

    return min(patience_s, FIRST_CONTACT_S) if isinstance(problem, Unreached) else patience_s


def retry_after_s(value: str | None) -> float | None:
    """Seconds that Retry-After states, as a number or as a date; None if it states none."""
    if value is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None
