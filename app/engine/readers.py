"""The pool of reader processes, which decode and encode files.

Decoders loop, eat memory or abort on files that exist in the wild. Each file therefore meets its decoder in a process
with a limit of memory and of time; one that is lost is replaced at once, and the file goes once more to another.
"""

from typing import TypeVar

from app.engine.channel import close_all
from app.engine.counts import Counts, Each
from app.engine.deadline import STOPPING, Deadline
from app.engine.idle import Idle
from app.engine.protocol import Decode, Encode, Failure, Join, MemoryNeeded
from app.engine.reader import LossCause, ReaderError, ReaderSlot
from app.engine.reader_request import MemoryGrant, ReaderRequest
from app.errors import BadCloud, DeadlineExceeded, NotReady
from app.settings import Settings

LEAST_KEPT = 3  # readers, of which one is kept for requests that somebody waits for
LATE = "No process to read the file became free in the time for the request."

Result = TypeVar("Result")


class ReaderPool:
    """``settings.readers`` processes, each serving one file at a time; for any number of threads."""

    def __init__(self, settings: Settings, memory_mib: int, counts: Counts | None = None):
        """``memory_mib`` is what one file may take."""
        self._settings = settings
        self._memory_mib = memory_mib
        self._counts = counts or Counts()
        self._readers = [ReaderSlot(settings, memory_mib, self._note_lost) for _ in range(settings.readers)]
        self._idle: Idle[ReaderSlot] = Idle(kept=settings.readers >= LEAST_KEPT)
        self._stopping = False

    def start(self) -> None:
        """Start the processes; they import their decoders while the caller goes on."""
        for reader in self._readers:
            reader.start()
            self._idle.put(reader)

    def stop(self) -> None:
        """End every process; requests in them, and those that wait for one, end in NotReady."""
        self._stopping = True
        for reader in self._readers:
            reader.stop()

    @property
    def pids(self) -> list[int]:
        """Process ids of the pool."""
        return [reader.pid for reader in self._readers if reader.pid]

    @property
    def num_lost(self) -> int:
        """How many processes had to be replaced so far, in all pools that share the counts."""
        return self._counts.total(Each.READERS_LOST)

    def _note_lost(self) -> None:
        self._counts.add(Each.READERS_LOST, 1)

    def run(
        self,
        request: ReaderRequest[Result],
        deadline: Deadline,
        grant: MemoryGrant | None = None,
        *,
        is_background: bool = False,
    ) -> Result:
        """What a reader makes of ``request``; it is the caller's to close.

        A file whose reader is lost goes once more to a fresh one: most losses are not its fault. ``grant`` is the
        memory that the reader may take, all that it needs if there is none. One in the background waits as long as
        others do, and leaves a reader to those that come.

        Raises BadCloud, TooLarge, UnsupportedFormat or BadRequest for the file, BadCloud if it took longer than
        ``reader_timeout_s`` or crashed two processes, DeadlineExceeded, ClientGone while it waits for its turn, NoRoom
        for a full disk, and NotReady if processes were lost to something else or the pool stops.
        """
        what = request.what
        message = request.message(max(1, grant.max_bytes) if grant else 0)
        causes: list[LossCause] = []
        while True:
            try:
                answer = self._ask(request, message, deadline, is_background)
                if not isinstance(answer, MemoryNeeded):
                    return answer
                if not grant:
                    raise ValueError("a reader asked for memory without a limit")
                message = request.message(grant.enlarge(answer))
            except TimeoutError:
                raise DeadlineExceeded(f"{what} was not finished when the time for the request was over.") from None
            except ReaderError as error:
                if self._stopping:
                    raise NotReady(STOPPING) from None
                causes.append(error.cause)
                if error.cause is LossCause.FILE:
                    raise BadCloud(
                        f"{what} {error}, the limit of this server. The file is damaged, or has more points than can "
                        "be handled in that time."
                    ) from None
                if causes == [LossCause.CRASH, LossCause.CRASH]:
                    raise BadCloud(
                        f"{what} failed twice: the process doing it {error}. The file is damaged, or needs more than "
                        f"the {self._memory_mib} MiB of memory that one file may take on this server."
                    ) from None
                if len(causes) > 1:
                    raise NotReady(
                        f"{what} failed twice: the process doing it {error}, which is no fault of the file. Try again.",
                        retry_after_s=5.0,
                    ) from None

    def _ask(
        self, request: ReaderRequest[Result], message: Decode | Join | Encode, deadline: Deadline, is_background: bool
    ) -> Result | MemoryNeeded:
        """One exchange with the next idle reader; raises what ``ReaderSlot.exchange`` raises."""
        reader = self._idle.take(deadline, LATE, is_background=is_background)
        try:
            if self._stopping:
                raise NotReady(STOPPING)
            answer, fds = reader.exchange(message, request.fds, self._settings.reader_timeout_s, deadline.at_s)
            try:
                if isinstance(answer, Failure):
                    raise answer.problem
                if isinstance(answer, MemoryNeeded) and not fds:
                    return answer
                return request.result(answer, fds)
            except ValueError as error:
                close_all(fds)
                wrong = f"sent a wrong answer: {error}"
                reader.replace(0.0, wrong)
                raise ReaderError(wrong, LossCause.CRASH) from None
            except BaseException:
                close_all(fds)
                raise
        finally:
            self._idle.put(reader)
