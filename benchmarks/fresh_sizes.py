"""Sizes of clouds, none of which comes twice, so that nothing prepared for a size is there when it is timed."""

import random

SPREAD = 0.2  # of a size, to both sides


class FreshSizes:
    """Gives every number once, to warm-ups too. Of ``count`` such, each with a ``place`` of its own, one gives it."""

    def __init__(self, place: int = 0, count: int = 1) -> None:
        self._place, self._count = place, count
        self._given: set[int] = set()
        self._chance = random.Random(0)

    def around(self, size: int) -> int:
        """A number within a fifth of ``size``."""
        return self.next_to(round(size * self._chance.uniform(1 - SPREAD, 1 + SPREAD)))

    def next_to(self, size: int) -> int:
        """The first number from ``size`` on."""
        size += (self._place - size) % self._count
        while size in self._given:
            size += self._count
        self._given.add(size)
        return size
