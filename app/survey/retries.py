"""What is tried again: tiles that could not be decoded or labelled for no fault of their own."""

import time
from collections import Counter

from app.errors import Busy, DeadlineExceeded, NotReady, Problem, Quarantined
from app.survey.row import State
from app.survey.workers import WorkerLost

MAX_TRIES = 8  # of what could not be done for no fault of the tile
MAX_LOSSES = 2  # of workers, over one tile
RETRY_S = 5.0


class Retries:
    """How often each tile of a run was tried in vain, and when it may be asked for again."""

    def __init__(self) -> None:
        self._tries: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()
        self._later: dict[int, float] = {}  # when to ask again

    def state_after(self, number: int, problem: Problem) -> State:
        """What a tile is after ``problem``, which counts; PENDING if it is tried again."""
        if isinstance(problem, Quarantined):
            return State.QUARANTINED
        if isinstance(problem, WorkerLost):
            self._losses[number] += 1
            return State.QUARANTINED if self._losses[number] >= MAX_LOSSES else State.PENDING
        tries = MAX_TRIES if isinstance(problem, (Busy, NotReady)) else isinstance(problem, DeadlineExceeded)
        if self._tries[number] < tries:
            self._tries[number] += 1
            self._later[number] = time.monotonic() + (problem.retry_after_s or RETRY_S)
            return State.PENDING
        return State.FAILED

    def is_due(self, number: int) -> bool:
        """Whether the tile may be asked for now."""
        return self._later.get(number, 0.0) <= time.monotonic()

    def forget(self, number: int) -> None:
        """The tile is not needed any more."""
        for about in (self._tries, self._losses, self._later):
            about.pop(number, None)
