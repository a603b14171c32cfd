"""What one call of the pipeline gathers for its answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.clouds.units import Units


def never_cancelled() -> None:
    """Never ends a run."""


def ignore_passes(passes: float, passes_wanted: int) -> None:
    """Tells nobody of the passes."""


@dataclass
class RunContext:
    """One call.

    Attributes:
        warnings: one sentence each.
        check_cancelled: is called before every stage, tile and pass; what it raises ends the run.
        on_passes: is told the passes that mode=exact has made (a part of one, where a cloud is tiled) and will make.
        timings_ms: milliseconds by stage, in the order in which they ran first.
        units: those that the cloud's coordinates were taken for, once they were.
    """

    warnings: list[str]
    check_cancelled: Callable[[], None] = never_cancelled
    on_passes: Callable[[float, int], None] = ignore_passes
    timings_ms: dict[str, float] = field(default_factory=dict)
    units: Units | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs within as part of the stage ``name``."""
        self.check_cancelled()
        start = time.perf_counter()
        yield
        self.timings_ms[name] = self.timings_ms.get(name, 0.0) + 1e3 * (time.perf_counter() - start)
