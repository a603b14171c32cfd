"""Progress of the passes of a run."""

from collections import deque

import torch

from .run_context import RunContext

MAX_AHEAD = 2  # passes that a thread starts before the device has made the first of them


class Progress:
    """Tells a run of its passes when the device has made them, and keeps the thread from running far ahead of it."""

    def __init__(self, passes_wanted: int, device: torch.device, run: RunContext):
        self.passes_wanted = passes_wanted
        self.device = device
        self.run = run
        self.started = 0.0
        self.under_way: deque[tuple[torch.cuda.Event, float]] = deque()

    def add(self, passes: float) -> None:
        """``passes``, or a part of one, were started."""
        self.started += passes
        if self.device.type != "cuda":
            self.run.on_passes(self.started, self.passes_wanted)
            return
        end = torch.cuda.Event(blocking=True)
        end.record(torch.cuda.current_stream(self.device))
        self.under_way.append((end, self.started))
        if len(self.under_way) > MAX_AHEAD:
            self._wait_for_oldest()

    def finish(self) -> None:
        """Wait for all passes that were started."""
        while self.under_way:
            self._wait_for_oldest()

    def _wait_for_oldest(self) -> None:
        end, made = self.under_way.popleft()
        end.synchronize()
        self.run.on_passes(made, self.passes_wanted)
