"""The report of app.diagnostics, gathered in a process of its own and kept for some seconds."""

import time
from threading import Lock

from app import processes
from app.engine.environment import open_environment
from app.errors import NotReady
from app.settings import ModelSettings, Settings

FRESH_S, DEEP_FRESH_S = 10.0, 60.0
GATHER_S, DEEP_GATHER_S = 120.0, 240.0


class DiagnosticsReport:
    """The last report. One request at a time gathers it; others get the one before, or are asked to come back.

    A ``deep`` one runs and times every operator and the bundled model, while it lets everything else go first.
    """

    def __init__(self, settings: Settings, deep: bool = False) -> None:
        self.settings = settings.part(ModelSettings).model_dump_json().encode()
        self.options = ["--json", "--settings", *(["--deep", "--background"] if deep else [])]
        self.fresh_s, self.gather_s = (DEEP_FRESH_S, DEEP_GATHER_S) if deep else (FRESH_S, GATHER_S)
        self.lock = Lock()
        self.text: bytes | None = None
        self.gathered_s = 0.0

    def get(self) -> bytes:
        """The report as JSON, at most ``fresh_s`` old unless a newer one is being gathered.

        Raises:
            NotReady: another request is gathering the first report, or gathering took longer than ``gather_s``.
        """
        if self.text is not None and time.monotonic() - self.gathered_s < self.fresh_s:
            return self.text
        if self.lock.acquire(blocking=False):
            try:
                self.text = self._gather()
                self.gathered_s = time.monotonic()
            finally:
                self.lock.release()
        if self.text is None:
            raise NotReady("The first report is being gathered. Ask again in some seconds.", retry_after_s=3)
        return self.text

    def _gather(self) -> bytes:
        """Standard output of ``python -m app.diagnostics --json``; its exit code only says whether all is well."""
        try:
            done = processes.run(
                "app.diagnostics", self.options, open_environment(), self.gather_s, stdin=self.settings
            )
        except TimeoutError:
            raise NotReady(
                f"Gathering the report took longer than {self.gather_s:.0f} s. Run `pointserve diagnose` on the "
                "machine to see where it stops.",
                retry_after_s=60,
            ) from None
        if not done.stdout:
            raise RuntimeError(f"the report failed: {done.stderr.decode(errors='replace')[-2000:]}")
        return done.stdout
