"""What one call of the pipeline gathers for its answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.clouds.units import Units


def go_on() -> None:
    """Never ends a run."""


@dataclass
class Run:
    """One call.

    Attributes:
        warnings: one sentence each.
        proceed: is called before every stage, tile and pass; what it raises ends the run.
        timings_ms: milliseconds by stage, in the order in which they ran first.
        units: those that the cloud's coordinates were taken for, once they were.
    """

    warnings: list[str]
    proceed: Callable[[], None] = go_on
    timings_ms: dict[str, float] = field(default_factory=dict)
    units: Units | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs within as part of the stage ``name``."""
        self.proceed()
        start = time.perf_counter()
        yield
        self.timings_ms[name] = self.timings_ms.get(name, 0.0) + 1e3 * (time.perf_counter() - start)
