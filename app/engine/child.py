"""A child process of this service and the channel to it."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from app.engine.channel import Channel

PACKAGE_ROOT = Path(__file__).resolve().parents[2]

KILL_S = 10.0
# As if it held so many thousandths of the memory more than it does: if the machine runs out of memory, readers go
# first, whose files can be read once more, then engines, and the web process last.
ENGINE_OOM_SCORE, READER_OOM_SCORE = 500, 800

_PR_SET_PDEATHSIG = 1
# A child gets its parent-death signal when the thread that started it ends, so one thread that stays starts them all.
_starter = ThreadPoolExecutor(1, "pointserve-starter")


class ChildProcess:
    """``python -m module --fd N …`` in a session of its own, so that the terminal's ctrl-C reaches the parent alone."""

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int] = ()
    ):
        """``environment`` is all that the process gets. ``descriptors`` keep their numbers in it, and stay the caller's
        to close here."""
        self.channel, theirs = Channel.pair()
        with theirs:
            command = [sys.executable, "-m", module, "--fd", str(theirs.fileno()), *arguments]
            try:
                self.process = _starter.submit(_start, command, [theirs.fileno(), *descriptors], environment).result()
            except BaseException:
                self.channel.close()
                raise

    @property
    def pid(self) -> int:
        """Process id, valid until the child was reaped."""
        return self.process.pid

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def is_stopped(self) -> bool:
        """Whether a signal has stopped the process, which goes on at SIGCONT only."""
        return self._stat()[0] == "T"

    def cpu_s(self) -> float:
        """Seconds that the process has computed on all its threads; 0 once it was reaped."""
        return sum(map(int, self._stat()[11:13])) / os.sysconf("SC_CLK_TCK")

    def _stat(self) -> list[str]:
        """Fields of /proc/PID/stat from the third on, which is the state."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ["X", *["0"] * 20]

    def end(self, grace_s: float) -> str:
        """Close the channel, which asks the process to end; kill it after ``grace_s``. Says how it ended."""
        self.channel.shutdown()
        try:
            self.process.wait(grace_s)
            how = _describe(self.process.returncode)
        except subprocess.TimeoutExpired:
            self.process.kill()
            how = self._await_end()
        self.channel.close()
        return how

    def _await_end(self) -> str:
        try:
            self.process.wait(KILL_S)
            return "was killed"
        except subprocess.TimeoutExpired:  # a driver that hangs holds it in the kernel
            return f"could not be killed within {KILL_S:g} s"


def tie_to_parent(oom_score: int = ENGINE_OOM_SCORE) -> None:
    """In a child: die with the parent, or before it if memory runs out; leave signals to it, write no core file."""
    signal_with_parent(signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(oom_score))


def signal_with_parent(number: int) -> None:
    """Get the signal ``number`` when the thread that started this process ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


def _start(command: list[str], descriptors: list[int], environment: Mapping[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        command,
        cwd=PACKAGE_ROOT,  # where ``-m`` looks first: a package 'app' where the user stands is not ours
        pass_fds=descriptors,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _describe(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    if returncode == -signal.SIGKILL:
        return "was ended by SIGKILL, as the system does when memory runs out"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"
