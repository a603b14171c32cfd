"""The body of a request as a file in memory or on disk."""

import io
import mmap
import os
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from app.engine.budget import MemoryBudget
from app.engine.owned_file import OwnedFile
from app.errors import BadRequest, TooLarge, storage_problem

IN_MEMORY = ("tmpfs", "ramfs")
_CHUNK_BYTES = 1 << 18
_PIECE_BYTES = 1 << 20  # of a large body, read and written at once: the cache of a core holds it


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


class Source(Protocol):
    """A stream of bytes."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Put up to ``len(buffer)`` bytes into it; how many, 0 at the end."""


@dataclass(eq=False)
class Body(OwnedFile):
    """A file of ``size`` bytes without a name: an anonymous memory file, or an unlinked temporary file."""

    size: int = 0

    @classmethod
    def from_stream(cls, stream: Source, limit_bytes: int, storage: Storage, num_bytes: int = 0) -> "Body":
        """Read ``stream`` to its end into a file; ``num_bytes`` are expected, 0 if that is not known.

        Raises TooLarge if the stream goes on after ``limit_bytes``, what ``Spool.write`` raises, and whatever
        reading the stream raises; nothing is kept then.
        """
        with Spool(storage, num_bytes) as spool, storage.budget.reservation() as held:
            if num_bytes > _PIECE_BYTES and held.add(_PIECE_BYTES):
                piece = memoryview(mmap.mmap(-1, _PIECE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            else:
                piece = memoryview(bytearray(_CHUNK_BYTES))
            while size := stream.readinto(piece[: limit_bytes - spool.size + 1]):
                if spool.size + size > limit_bytes:
                    raise TooLarge(f"The body is larger than {limit_bytes} bytes, the limit of this server.")
                spool.write(piece[:size])
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
        self._position = 0
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
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if begin + offset < 0:
            raise ValueError(f"{begin + offset} is no place in a file")
        self._position = begin + offset
        return self._position

    def tell(self) -> int:
        """As that of any file."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As that of any file."""
        num_bytes = os.preadv(self._body.fd, [buffer], self._position)
        self._position += num_bytes
        return num_bytes

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        """Write all of ``data`` at the present position; its length."""
        left = memoryview(data).cast("B")
        num_bytes = len(left)
        end = self._position + num_bytes
        try:
            self._make_room(end)
            while left:
                left = left[os.pwrite(self._body.fd, left, end - len(left)) :]
        except OSError as error:
            raise storage_problem(error, "the body") from error
        self._position = end
        self._body.size = max(self.size, end)
        return num_bytes

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
        memory = OwnedFile(self._body.detach())
        self._body.fd, self._in_memory = disk, False
        with memory:
            offset = 0
            while sent := os.sendfile(disk, memory.fd, offset, _CHUNK_BYTES):
                offset += sent


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
