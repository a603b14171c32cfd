"""The body of a request as a file in memory or on disk."""

import fcntl
import io
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from app.engine.budget import MemoryBudget
from app.engine.owned_file import OwnedFile
from app.errors import BadRequest, TooLarge, storage_problem

IN_MEMORY = ("tmpfs", "ramfs")
_CHUNK_BYTES = 1 << 18
_PIPE_BYTES = 1 << 20  # what Linux lets any user have


@dataclass(frozen=True)
class Storage:
    """The place for files of requests: in memory up to ``memory_bytes`` each if ``budget`` has room, else on disk under
    ``spool_dir`` (None: the system's temporary folder)."""

    memory_bytes: int
    spool_dir: Path | None = None
    budget: MemoryBudget = field(default_factory=MemoryBudget)

    @cached_property
    def is_all_memory(self) -> bool:
        """Whether the folder itself is in memory, as a tmpfs is."""
        number = os.stat(self.spool_dir or tempfile.gettempdir()).st_dev
        device = f"{os.major(number)}:{os.minor(number)}"
        mounts = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return any(mount[2] == device and mount[mount.index("-") + 1] in IN_MEMORY for mount in mounts)


@runtime_checkable
class Spliceable(Protocol):
    """A stream whose bytes can go through a pipe into a file, which saves copying them."""

    @property
    def splices(self) -> bool:
        """Whether they can."""

    def splice(self, pipe: int, size: int) -> int:
        """Put up to ``size`` bytes into an empty ``pipe``; how many, 0 at the end."""


@dataclass(eq=False)
class Body(OwnedFile):
    """A file of ``size`` bytes without a name: an anonymous memory file, or an unlinked temporary file."""

    size: int = 0

    @classmethod
    def from_stream(cls, stream: BinaryIO, limit_bytes: int, storage: Storage, num_bytes: int = 0) -> "Body":
        """Read ``stream`` to its end into a file; ``num_bytes`` are expected, 0 if that is not known.

        Raises TooLarge if the stream goes on after ``limit_bytes``, what ``Spool.write`` raises, and whatever
        reading the stream raises; nothing is kept then.
        """
        with Spool(storage, num_bytes) as spool:
            if isinstance(stream, Spliceable) and stream.splices:
                spool.splice(stream)
            while chunk := stream.read(min(_CHUNK_BYTES, limit_bytes - spool.size + 1)):
                if spool.size + len(chunk) > limit_bytes:
                    raise TooLarge(f"The body is larger than {limit_bytes} bytes, the limit of this server.")
                spool.write(chunk)
            return spool.take()


class Spool(io.RawIOBase):
    """A file being written; it moves from memory to disk if there is no room for it, and becomes a ``Body``.

    Raises NotReady if memory or descriptors lack; ``write`` also NoRoom if the disk is full or the folder gone,
    and Busy if the disk is memory and other requests hold that.
    """

    def __init__(self, storage: Storage, num_bytes: int = 0):
        """``num_bytes`` are expected; the file is on disk from the beginning if they are too many for memory."""
        self._storage = storage
        self._in_memory = True
        self._reservation = storage.budget.reservation()
        try:
            self._body = Body(os.memfd_create("pointserve-body", os.MFD_CLOEXEC))
            if num_bytes > storage.memory_bytes:
                self._move_to_disk()
        except OSError as error:
            raise storage_problem(error, "the body") from error

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._body.size

    def readable(self) -> bool:
        """Always."""
        return True

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As that of any file."""
        return os.lseek(self._body.fd, offset, whence)

    def tell(self) -> int:
        """As that of any file."""
        return os.lseek(self._body.fd, 0, os.SEEK_CUR)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As that of any file."""
        return os.readv(self._body.fd, [buffer])

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        """Write all of ``data`` at the present position; its length."""
        left = memoryview(data).cast("B")
        num_bytes = len(left)
        end = self.tell() + num_bytes
        try:
            self._make_room(end)
            while left:
                left = left[os.write(self._body.fd, left) :]
        except OSError as error:
            raise storage_problem(error, "the body") from error
        self._body.size = max(self._body.size, end)
        return num_bytes

    def splice(self, stream: Spliceable) -> None:
        """Write all of ``stream`` at the present position."""
        try:
            source, sink = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            raise storage_problem(error, "the body") from error
        with OwnedFile(source), OwnedFile(sink):
            with suppress(OSError):  # there are many pipes
                fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            end = self.tell()
            while num_bytes := stream.splice(sink, _PIPE_BYTES):
                end += num_bytes
                try:
                    self._make_room(end)
                    while num_bytes:
                        num_bytes -= os.splice(source, self._body.fd, num_bytes)
                except OSError as error:
                    raise storage_problem(error, "the body") from error
                self._body.size = max(self._body.size, end)

    def take(self) -> Body:
        """What was written, now owned by the caller; closes this object."""
        body = Body(self._body.detach(), self._body.size, reservation=self._reservation.moved())
        self.close()
        return body

    def close(self) -> None:
        """Give up the file, unless it was taken; may be called twice."""
        self._body.close()
        self._reservation.close()
        super().close()

    def _make_room(self, end: int) -> None:
        """Make sure that there is room for ``end`` bytes, in memory or on disk."""
        more_bytes = max(0, end - self._reservation.num_bytes)
        if self._in_memory and end <= self._storage.memory_bytes and self._reservation.add(more_bytes):
            return
        is_memory = self._storage.is_all_memory
        if self._in_memory:
            self._move_to_disk()
        if not is_memory:
            self._reservation.close()
        elif not self._reservation.add(more_bytes):
            raise self._storage.budget.busy("The body", more_bytes)

    def _move_to_disk(self) -> None:
        with tempfile.TemporaryFile(prefix="pointserve-", dir=self._storage.spool_dir) as file:
            disk = os.dup(file.fileno())
        position = self.tell()
        memory = OwnedFile(self._body.detach())
        self._body.fd, self._in_memory = disk, False
        with memory:
            offset = 0
            while sent := os.sendfile(disk, memory.fd, offset, _CHUNK_BYTES):
                offset += sent
        self.seek(position)


def check_spool_dir(spool_dir: Path | None) -> None:
    """Raise BadRequest if no file can be made in ``spool_dir``."""
    try:
        with tempfile.TemporaryFile(prefix="pointserve-", dir=spool_dir) as file:
            file.write(b"pointserve")
    except OSError as error:
        where = f"POINTSERVE_SPOOL_DIR={spool_dir}" if spool_dir else "The system's temporary folder"
        raise BadRequest(
            f"{where} cannot be used for large bodies ({error.strerror}). Give a folder that exists and can be "
            "written: POINTSERVE_SPOOL_DIR=/path."
        ) from None
