"""A Python process that tries something which may crash, hang or abort."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

ANSWER = "pointserve-answer:"
REASON_LENGTH = 300
PACKAGE_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a child answered; ``reason`` says why there is no answer and is '' if there is one."""

    value: Any = None
    reason: str = ""


def answer(value: Any) -> None:
    """In the child: hand ``value``, JSON-able, to the parent. Whatever else is printed is ignored."""
    print(f"\n{ANSWER}{json.dumps(value)}", flush=True)


class Child:
    """Python started with ``arguments``, in a process group of its own that ends with the ``with`` block."""

    def __init__(self, arguments: list[str]):
        self._out, self._err = _memory_file(), _memory_file()
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=PACKAGE_ROOT,  # where ``-m`` looks first: another folder may hold an app of its own
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._out.close()
        self._err.close()

    def outcome(self, deadline_s: float) -> Outcome:
        """The child's answer, waited for until ``deadline_s`` on the monotonic clock."""
        try:
            code = self._process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            return Outcome(reason="gave no answer in the time allowed")
        answers = [line for line in self._lines(self._out) if line.startswith(ANSWER)]
        if code == 0 and answers:
            return Outcome(json.loads(answers[-1].removeprefix(ANSWER)))
        last_words = next((line for line in reversed(self._lines(self._err)) if line.strip()), "")
        return Outcome(reason=f"{_ending(code)}{': ' if last_words else ''}{last_words.strip()[:REASON_LENGTH]}")

    @staticmethod
    def _lines(stream: Any) -> list[str]:
        stream.seek(0)
        return stream.read().decode(errors="replace").splitlines()


def _memory_file() -> IO[bytes]:
    """A file, not a pipe, so that nothing can block on it; in memory, so that it needs no disk."""
    return os.fdopen(os.memfd_create("pointserve-diagnostics", os.MFD_CLOEXEC), "w+b")


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
