"""The context of one run of the pipeline: cancellation, progress, warnings and timings."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from app.clouds.units import Units

CPU = torch.device("cpu")


def never_cancelled() -> None:
    """A check that never raises."""


def ignore_passes(passes: float, passes_wanted: int) -> None:
    """A callback that does nothing."""


@dataclass
class RunContext:
    """The state of one run: what it is given, and what it gathers for its answer.

    Attributes:
        warnings: one sentence each.
        check_cancelled: called before every stage, tile and pass; an exception of it ends the run.
        on_passes: called with the passes that mode=exact has made (a part of one, if a cloud is tiled) and will make.
        device: what it runs on.
        timings_ms: milliseconds by stage, in the order in which they ran first; complete after ``settle``.
        units: of the cloud's coordinates, once they are settled.
    """

    warnings: list[str]
    check_cancelled: Callable[[], None] = never_cancelled
    on_passes: Callable[[float, int], None] = ignore_passes
    device: torch.device = CPU
    timings_ms: dict[str, float] = field(default_factory=dict)
    units: Units | None = None
    _spans: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = field(default_factory=list)
    _checks: list[Tensor] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs within as part of the stage ``name``.

        A GPU takes the times itself, when it comes to the begin and the end in its current stream.
        """
        self.check_cancelled()
        self.timings_ms.setdefault(name, 0.0)
        if self.device.type == "cuda":
            start = self._mark()
            yield
            self._spans.append((name, start, self._mark()))
        else:
            start_s = time.perf_counter()
            yield
            self.timings_ms[name] += 1e3 * (time.perf_counter() - start_s)

    def note_check(self, passed: Tensor) -> None:
        """Keep ``passed``, one bool on the device, until somebody asks whether ``checks_passed``."""
        self._checks.append(passed)

    def forget_checks(self) -> None:
        """Forget what was noted: all is computed again."""
        self._checks.clear()

    def checks_passed(self) -> bool:
        """Whether every check that was noted passed; waits for the device if there is one."""
        if len(self._checks) > 1:
            self._checks = [torch.stack(self._checks).all()]
        return all(map(bool, self._checks))

    def settle(self) -> None:
        """Add what a GPU took for the stages to ``timings_ms``, once it is done with them."""
        for name, start, end in self._spans:
            end.synchronize()
            self.timings_ms[name] += start.elapsed_time(end)
        self._spans.clear()

    def add_stages(self, other: "RunContext") -> None:
        """Take the stages of ``other`` for stages of this run, too."""
        for name, spent_ms in other.timings_ms.items():
            self.timings_ms[name] = self.timings_ms.get(name, 0.0) + spent_ms
        self._spans += other._spans

    def _mark(self) -> torch.cuda.Event:
        mark = torch.cuda.Event(enable_timing=True)
        mark.record(torch.cuda.current_stream(self.device))
        return mark
