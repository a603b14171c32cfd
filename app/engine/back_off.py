"""Pauses between attempts that fail, each twice as long as the one before."""


class BackOff:
    """Gives ``first_s`` seconds, then twice as many each time, ``max_s`` at most."""

    def __init__(self, first_s: float, max_s: float):
        self._first_s = first_s
        self._max_s = max_s
        self._next_s = first_s

    def next_s(self) -> float:
        """The pause after one more failure."""
        pause_s = self._next_s
        self._next_s = min(self._max_s, 2 * pause_s)
        return pause_s

    def reset(self) -> None:
        """Begin again with the first pause."""
        self._next_s = self._first_s
