"""One reader, seen from the web process: its process is started, asked, and replaced when it is lost."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from app.clouds.needs import MAX_UNPACKING
from app.diagnostics.machine import usable_cores
from app.engine.channel import ChannelError, MessageTooLarge, close_all
from app.engine.child import ChildProcess
from app.engine.environment import plain_environment
from app.engine.protocol import Decode, Encode, Idle, Join
from app.errors import DeadlineExceeded, NotReady
from app.settings import MIB, Settings

START_S = 60.0  # also for giving back what the last file took
TAKE_S = 1.0  # for taking a message that lies here already
END_S = 2.0
LOOK_S = 0.25  # how soon a process that was stopped is noticed
STOPPED_S = 1.0  # no one stops a process for so short a time by mistake
BUSY_SHARE = 0.5  # of its time: a process that computed less than that was held up by something else
MAX_KEPT_BYTES = 64 << 20
GROWTH_SHARE = 4  # of the memory that one file may take: what a process may keep of all files before

MAX_ROW_THREADS = 8  # that turn columns into arrays, which the memory bounds

# Every thread and every arena of malloc reserves address space. Those that work are started before it is limited;
# others would make the limit depend on the number of cores.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

log = logging.getLogger(__name__)


class LossCause(Enum):
    """Likely cause of the loss of a process."""

    FILE = "file"  # it computed until its time was over
    CRASH = "crash"  # it ended itself: most often the file, but not surely
    OUTSIDE = "outside"  # killed, stopped or kept from computing by something else


class ReaderError(Exception):
    """The process ended, or had to be ended, within an exchange; the text says how."""

    def __init__(self, how: str, cause: LossCause):
        super().__init__(how)
        self.cause = cause


class ReaderSlot:
    """Keeps one reader process running, and replaces it when it is lost. For one thread at a time, except ``stop``."""

    def __init__(self, settings: Settings, memory_mib: int, note_lost: Callable[[], None] = lambda: None):
        """``memory_mib`` is what one file may take; ``note_lost`` is called for every process that is lost."""
        self._note_lost = note_lost
        self._memory_mib = memory_mib
        cores = usable_cores()
        self._arguments = ["--memory-mib", str(memory_mib), "--log-level", settings.log_level]
        self._arguments += ["--threads", str(min(MAX_ROW_THREADS, cores))]
        num_unpacking = min(MAX_UNPACKING, cores)
        self._arguments += ["--unpacking-threads", str(num_unpacking)]
        self._environment = _ENVIRONMENT | {
            "RAYON_NUM_THREADS": str(num_unpacking),
            "MALLOC_ARENA_MAX": str(1 + num_unpacking),  # each takes 4,000 pieces a chunk, and would wait for others
        }
        if settings.spool_dir:
            self._arguments += ["--spool-dir", str(settings.spool_dir.absolute())]
        self._child: ChildProcess | None = None
        self._idle: Idle | None = None  # what it said when it last could take a request, if it can
        self._begin_bytes = 0  # resident once it had started, 0 before
        self._idle_until = 0.0
        self._stopped = False
        self._lock = threading.Lock()  # between ``start`` and ``stop``

    @property
    def pid(self) -> int | None:
        """Of the present process; None if there is none."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start a process; ``exchange`` waits until it has imported its decoders."""
        with self._lock:
            self._child, self._idle, self._begin_bytes = None, None, 0
            self._idle_until = time.monotonic() + START_S
            if self._stopped:
                return
            try:
                self._child = ChildProcess(
                    "app.engine.reader_process", self._arguments, plain_environment() | self._environment
                )
            except OSError:
                log.exception("a reader process could not be started; the next request tries again")

    def exchange(
        self, message: Decode | Join | Encode, fds: Sequence[int], limit_s: float, deadline_s: float
    ) -> tuple[Any, list[int]]:
        """Send a request, return its answer and the descriptors that came with it, which are the caller's to close.

        Raises ReaderError, also after ``limit_s`` seconds of work, and TimeoutError at ``deadline_s``, both with a new
        process in place, MessageTooLarge, and NotReady if no process can be started.
        """
        child, idle = self._awake(deadline_s)
        until = min(deadline_s, time.monotonic() + limit_s)
        try:
            child.channel.send(message, fds, until)
            self._idle = None
            _await_answer(child, until)
            answer = child.channel.receive(until)
            self._idle_until = time.monotonic() + START_S
            return answer
        except MessageTooLarge:  # nothing was asked
            raise
        except ChannelError as error:
            how = self.replace(END_S)
            was_killed = child.process.returncode == -signal.SIGKILL
            raise ReaderError(how, LossCause.OUTSIDE if was_killed else LossCause.CRASH) from error
        except TimeoutError:
            computed = child.cpu_s() - idle.cpu_s > limit_s * BUSY_SHARE
            if time.monotonic() >= deadline_s:
                self.replace(0.0, "was not done when the time for the request was over")
                raise
            late = f"took longer than {limit_s:g} s"
            self.replace(0.0, late)
            raise ReaderError(late, LossCause.FILE if computed else LossCause.OUTSIDE) from None
        except BaseException as error:
            self.replace(0.0, str(error) if isinstance(error, ReaderError) else "was given up")
            raise

    def replace(self, grace_s: float, why: str = "") -> str:
        """Kill the process after ``grace_s`` and start a new one in its place; says how the old one ended.

        ``why`` says for the log what the process did, if it did not end by itself.
        """
        how = "had not been started"
        if self._child:
            how = self._child.end(grace_s)
            if not self._stopped:
                ended = f"{why}, so it {how}" if why else how
                log.warning("The reader process %d %s. Another is started.", self._child.pid, ended)
        self._note_lost()
        self.start()
        return how

    def stop(self) -> None:
        """End the process and start no more; wakes an exchange, which raises ReaderError."""
        with self._lock:
            self._stopped = True
            if self._child:
                self._child.end(0.0)

    def _awake(self, deadline_s: float) -> tuple[ChildProcess, Idle]:
        """The process, once it is idle; one that died, or has grown over the last files, is replaced first."""
        if self._child is None or not self._child.alive():
            self.replace(0.0)
        if self._child is None:
            raise NotReady("No process to read files can be started on this server.", retry_after_s=5.0)
        self._idle = idle = self._idle or self._await_idle(self._child, deadline_s)
        self._begin_bytes = self._begin_bytes or idle.resident_bytes
        if idle.resident_bytes - self._begin_bytes > self._may_keep_bytes:
            self._child.end(0.0)  # some decoders leak a little with every damaged file
            self.start()
            return self._awake(deadline_s)
        return self._child, idle

    @property
    def _may_keep_bytes(self) -> float:
        return min(MAX_KEPT_BYTES, self._memory_mib * MIB / GROWTH_SHARE)

    def _await_idle(self, child: ChildProcess, deadline_s: float) -> Idle:
        until = max(self._idle_until, time.monotonic() + TAKE_S)  # the next request may come long after the message
        try:
            message, fds = child.channel.receive(min(deadline_s, until))
        except TimeoutError:
            if time.monotonic() < until:
                raise DeadlineExceeded("The process to read the file was not ready in time.") from None
            self.replace(0.0, f"was not ready within {START_S:g} s")
            raise NotReady(f"No process to read files was ready within {START_S:g} s.", retry_after_s=5.0) from None
        except ChannelError:
            raise ReaderError(f"{self.replace(END_S)} before it was ready", LossCause.OUTSIDE) from None
        if isinstance(message, Idle):
            return message
        close_all(fds)
        raise ReaderError(f"{self.replace(0.0, f'sent {type(message).__name__}')} before it was ready", LossCause.CRASH)


def _await_answer(child: ChildProcess, until: float) -> None:
    """Return once there is something to receive; TimeoutError at ``until``, ReaderError for a stopped process."""
    stopped_since: float | None = None
    while not child.channel.wait(min(LOOK_S, max(0.0, until - time.monotonic()))):
        now = time.monotonic()
        if now >= until:
            raise TimeoutError
        if not child.is_stopped():
            stopped_since = None
        elif stopped_since is None:
            stopped_since = now
        elif now - stopped_since > STOPPED_S:
            raise ReaderError("was stopped by a signal", LossCause.OUTSIDE)
