"""Reads files that somebody may write to meanwhile: whole as they were, or not at all."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.pickles.archive import DamagedError

SETTLED_S = 0.05  # since the last write; the clock of a file system may be that coarse
WAIT_S = 1.0  # for that, at most


class ChangedError(DamagedError):
    """The file was written to while it was read."""


@contextmanager
def open_stable(path: Path) -> Iterator[BinaryIO]:
    """The file, open for reading, once nobody has written to it for ``SETTLED_S``.

    Raises ChangedError at the end of the block if it was written to meanwhile, because what was read of it is of no
    use then; and OSError if it cannot be opened.
    """
    with path.open("rb") as file:
        _settle(file)
        before = _version(file)
        try:
            yield file
        except Exception as error:
            _check(file, before, error)
            raise
        _check(file, before)


@contextmanager
def copied_to_memory(file: BinaryIO) -> Iterator[Path]:
    """The path, until the end of the block, of a copy of ``file`` in memory, for libraries that map what they read.

    Pages of a mapped file change with the file, and vanish with them, which ends the process; those of the copy live as
    long as they are mapped.
    """
    fd = os.memfd_create("pointserve-file", os.MFD_CLOEXEC)
    with os.fdopen(fd, "w+b") as copy:
        file.seek(0)
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        yield Path(f"/proc/self/fd/{fd}")


def _settle(file: BinaryIO) -> None:
    until = time.monotonic() + WAIT_S
    while abs(time.time() - os.fstat(file.fileno()).st_mtime) < SETTLED_S and time.monotonic() < until:
        time.sleep(SETTLED_S)


def _version(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _check(file: BinaryIO, before: tuple[int, int], cause: Exception | None = None) -> None:
    if _version(file) != before:
        raise ChangedError("it was written to while it was read; wait until it is whole and load it again") from cause
