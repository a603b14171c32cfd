"""Sizes of clouds, none of which comes twice, so that nothing prepared for a size is there when it is timed."""

import random

SPREAD = 0.2  # of a size, to both sides


class FreshSizes:
    """Gives every number once, to warm-ups too."""

    def __init__(self) -> None:
        self._given: set[int] = set()
        self._chance = random.Random(0)

    def around(self, size: int) -> int:
        """A number within a fifth of ``size``."""
        return self.next_to(round(size * self._chance.uniform(1 - SPREAD, 1 + SPREAD)))

    def next_to(self, size: int) -> int:
        """The first number from ``size`` on."""
        while size in self._given:
            size += 1
        self._given.add(size)
        return size
