"""The report of app.diagnostics, gathered in a process of its own and kept for some seconds."""

import subprocess
import sys
import time
from threading import Lock

from app.engine.child import PACKAGE_ROOT
from app.errors import NotReady

FRESH_S = 10.0
GATHER_S = 120.0


class Report:
    """The last report. One request gathers it at a time; others get the one before, or are told to come back."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.text: bytes | None = None
        self.gathered_s = 0.0

    def get(self) -> bytes:
        """The report as JSON, at most ``FRESH_S`` old unless a newer one is being gathered.

        Raises:
            NotReady: another request is gathering the first report, or gathering took longer than ``GATHER_S``.
        """
        if self.text is not None and time.monotonic() - self.gathered_s < FRESH_S:
            return self.text
        if self.lock.acquire(blocking=False):
            try:
                self.text = _gather()
                self.gathered_s = time.monotonic()
            finally:
                self.lock.release()
        if self.text is None:
            raise NotReady("The first report is being gathered. Ask again in some seconds.", retry_after_s=3)
        return self.text


def _gather() -> bytes:
    """Standard output of ``python -m app.diagnostics --json``; its exit code only says whether all is well."""
    command = [sys.executable, "-m", "app.diagnostics", "--json"]
    try:
        done = subprocess.run(
            command, cwd=PACKAGE_ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=GATHER_S
        )
    except subprocess.TimeoutExpired:
        raise NotReady(
            f"Gathering the report took longer than {GATHER_S:.0f} s. Run `pointserve diagnose` on the machine to see "
            "where it stops.",
            retry_after_s=60,
        ) from None
    if not done.stdout:
        raise RuntimeError(f"the report failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout
