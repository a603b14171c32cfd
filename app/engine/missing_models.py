"""Models that an engine cannot serve now because their files are missing or broken, and when to try them again."""

import math
import time
from collections.abc import Collection, Iterable

from app.engine.back_off import BackOff
from app.engine.model_card import ModelCard

FIRST_RETRY_S, MAX_RETRY_S = 1.0, 30.0
REST = 20


class MissingModels:
    """Which models are to be loaded again, and when: after a pause that doubles up to ``MAX_RETRY_S``, and is at least
    ``REST`` times as long as trying takes, because nothing is computed meanwhile.

    A folder that was there when its models were looked for, or ever served one, is expected to come back.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._known: set[str] = set()
        self._back_off = BackOff(FIRST_RETRY_S, MAX_RETRY_S)
        self._due_s = math.inf

    @property
    def is_due(self) -> bool:
        """Whether it is time to try them again."""
        return time.monotonic() >= self._due_s

    def update(self, cards: Iterable[ModelCard], unloaded: Collection[str], tried_s: float = 0.0) -> None:
        """Take note of what is served now, after ``tried_s`` of trying; ``unloaded`` are not wanted."""
        cards = list(cards)
        self._known |= {card.name for card in cards}
        names = sorted(self._known - {card.name for card in cards if card.served} - set(unloaded))
        if names != self.names:
            self._back_off.reset()
        self.names = names
        self._due_s = time.monotonic() + max(self._back_off.next_s(), REST * tried_s) if names else math.inf
