"""The context of one run of the pipeline: cancellation, progress, warnings and timings."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.clouds.units import Units


def never_cancelled() -> None:
    """Lets every run go on."""


def ignore_passes(passes: float, passes_wanted: int) -> None:
    """Reports the passes to nobody."""


@dataclass
class RunContext:
    """What one run is given and gathers for its answer.

    Attributes:
        warnings: one sentence each.
        check_cancelled: called before every stage, tile and pass; an exception of it ends the run.
        on_passes: called with the passes that mode=exact has made (a part of one, if a cloud is tiled) and will make.
        timings_ms: milliseconds by stage, in the order in which they ran first.
        units: of the cloud's coordinates, once they are settled.
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
