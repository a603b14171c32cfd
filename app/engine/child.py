"""Child processes, each with a channel to it."""

import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from app import processes
from app.engine.channel import Channel

KILL_S = 10.0
# As if it held so many thousandths of the memory more than it does: if the machine runs out of memory, readers go
# first, whose files can be read once more, then engines, and web processes last.
FRONT_OOM_SCORE, ENGINE_OOM_SCORE, READER_OOM_SCORE = 200, 500, 800

# A child gets its parent-death signal when the thread that started it ends, so one thread that stays starts them all.
_starter = ThreadPoolExecutor(1, "pointserve-starter")


class ChildProcess:
    """A process ``python -m module --fd N …``; the descriptor N is the other end of ``channel``."""

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int] = ()
    ):
        """As ``processes.start``; ``descriptors`` stay the caller's to close here."""
        self.channel, theirs = Channel.pair()
        with theirs:
            arguments, descriptors = ["--fd", str(theirs.fileno()), *arguments], [theirs.fileno(), *descriptors]
            try:
                started = _starter.submit(processes.start, module, arguments, environment, descriptors)
                self.process = started.result()
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
            how = processes.ending(self.process.returncode)
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
    processes.signal_with_parent(signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(oom_score))
