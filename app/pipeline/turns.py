"""A lock for the networks of a process: batches in flight at the same time take turns in them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .run_context import RunContext


class Turns:
    """A lock that one batch at a time holds while it is in a network.

    In Python networks of Pointcept keep state meanwhile; on the device two would take as long as one after the other.
    The device may still be busy with one when the next is called.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[torch.cuda.Stream, torch.cuda.Event] | None = None  # of what was called last, and its end

    @contextmanager
    def turn(self, device: torch.device, run: RunContext) -> Iterator[None]:
        """Call a network on ``device`` within, as the stage ``network``.

        What waits for its turn does so as the stage ``wait``.
        """
        stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        is_ours = self._lock.acquire(blocking=False)
        try:
            if not is_ours or (self._last and self._last[0] != stream):
                with run.stage("wait"):
                    is_ours = is_ours or self._lock.acquire()
                    if stream and self._last:
                        stream.wait_event(self._last[1])
            with run.stage("network"):
                yield
            if stream:
                self._last = stream, stream.record_event()
        finally:
            if is_ours:
                self._lock.release()


TURNS = Turns()
"""Of this process, which has one device."""
