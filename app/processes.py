"""Python processes: the one way in which parts of the service start modules of this package."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

PACKAGE_ROOT = Path(__file__).resolve().parents[1]

_PR_SET_PDEATHSIG = 1


def start(
    module: str,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | None = None,
) -> "subprocess.Popen[bytes]":
    """``python -m module …`` in a session of its own, so that the terminal's ctrl-C reaches the parent alone.

    It gets the variables of ``environment`` alone and the ``descriptors`` under their numbers. If they are None,
    ``environment`` and ``stderr`` are those of this process. Raises OSError if it cannot be started.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=PACKAGE_ROOT,  # where ``-m`` looks first: a package 'app' where the user stands is not ours
        env=environment,
        pass_fds=descriptors,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def ending(returncode: int) -> str:
    """How a process ended, in words that follow its name."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    if returncode == -signal.SIGKILL:
        return "was ended by SIGKILL, as the system does when memory runs out"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"


def signal_with_parent(number: int) -> None:
    """Get the signal ``number`` when the thread that started this process ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


@dataclass(frozen=True)
class Finished:
    """What a process left: its exit code, or minus the signal that ended it, and what it wrote."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Task:
    """A module that runs to its end. The end of the ``with`` block kills it, with what it started in its session.

    What it reads and writes are files in memory: nothing blocks on them, and they need no disk.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ):
        """``stdin`` is all of its standard input; ``environment`` is as in ``start``."""
        with ExitStack() as stack:
            given, self._stdout, self._stderr = (stack.enter_context(_memory_file(what)) for what in (stdin, b"", b""))
            self._process = start(module, arguments, environment, stdin=given, stdout=self._stdout, stderr=self._stderr)
            self._files = stack.pop_all()

    def wait(self, seconds: float) -> Finished:
        """What the process left; raises TimeoutError if it has not ended in so many seconds."""
        try:
            returncode = self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            raise TimeoutError("the process has not ended") from None
        return Finished(returncode, _content(self._stdout), _content(self._stderr))

    def __enter__(self) -> "Task":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._files.close()


def run(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], limit_s: float, stdin: bytes = b""
) -> Finished:
    """What the module leaves. It is killed after ``limit_s`` seconds, which raises TimeoutError."""
    with Task(module, arguments, environment, stdin) as task:
        return task.wait(limit_s)


def _memory_file(content: bytes) -> IO[bytes]:
    file = os.fdopen(os.memfd_create("pointserve-standard", os.MFD_CLOEXEC), "w+b")
    file.write(content)
    file.seek(0)
    return file


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
