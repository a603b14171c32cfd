"""How far a run over a survey is."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        num_wanted: tiles to be labelled in this run; ``points_wanted`` their points, as far as headers tell.
        num_done, num_failed: of them.
        points_done: labelled in this run.
        bytes_done: of the answers written in it.
        seconds: since it began.
        points_by_worker: labelled, by the worker's name.
        names: of tiles under way.
        stopped: why it ended before all were done; '' if it did not.
    """

    num_wanted: int = 0
    points_wanted: int = 0
    num_done: int = 0
    num_failed: int = 0
    points_done: int = 0
    bytes_done: int = 0
    seconds: float = 0.0
    points_by_worker: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)
    stopped: str = ""

    @property
    def points_s(self) -> float:
        """Points a second, so far."""
        return self.points_done / self.seconds if self.seconds else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at this rate; None if nothing is known yet."""
        num_left = self.num_wanted - self.num_done - self.num_failed
        return self.seconds / self.num_done * num_left if self.num_done else None
