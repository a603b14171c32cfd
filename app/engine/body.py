"""The bytes of a request, whole, in memory or on disk."""

import errno
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from app.errors import NotReady, TooLarge

_CHUNK_BYTES = 1 << 20


class Body:
    """A file of ``size`` bytes without a name, owned by this object until ``close``.

    Attributes:
        fd: of an anonymous memory file, or of an unlinked temporary file; -1 once closed.
        size: in bytes.
    """

    def __init__(self, fd: int, size: int = 0):
        self.fd = fd
        self.size = size

    @classmethod
    def from_stream(
        cls, stream: BinaryIO, limit_bytes: int, memory_bytes: int, spool_dir: Path | None = None
    ) -> "Body":
        """Read ``stream`` to its end, into memory up to ``memory_bytes`` and into a file under ``spool_dir`` beyond.

        Raises TooLarge where the stream goes on after ``limit_bytes``, NotReady where the disk is full, and whatever
        reading the stream raises; nothing is kept then.
        """
        body = cls(os.memfd_create("pointserve-body", os.MFD_CLOEXEC))
        in_memory = True
        try:
            while chunk := stream.read(min(_CHUNK_BYTES, limit_bytes - body.size + 1)):
                if body.size + len(chunk) > limit_bytes:
                    raise TooLarge(f"The body is larger than {limit_bytes} bytes, the limit of this server.")
                if in_memory and body.size + len(chunk) > memory_bytes:
                    body._move_to_disk(spool_dir)
                    in_memory = False
                body._append(chunk)
        except BaseException:
            body.close()
            raise
        return body

    def close(self) -> None:
        """Give up the file; may be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _append(self, chunk: bytes) -> None:
        data = memoryview(chunk)
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError as error:
            raise _no_space(error) from error
        self.size += len(chunk)

    def _move_to_disk(self, spool_dir: Path | None) -> None:
        try:
            with tempfile.TemporaryFile(prefix="pointserve-", dir=spool_dir) as file:
                disk = os.dup(file.fileno())
        except OSError as error:
            raise _no_space(error) from error
        memory, self.fd = self.fd, disk
        try:
            offset = 0
            while sent := os.sendfile(disk, memory, offset, _CHUNK_BYTES):
                offset += sent
        except OSError as error:
            raise _no_space(error) from error
        finally:
            os.close(memory)


def _no_space(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM):
        return NotReady("The server has no room left for the body; try again later.", retry_after_s=30.0)
    return error
