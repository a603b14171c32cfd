"""The lock of a folder of answers: one process at a time works there."""

import fcntl
import os
from pathlib import Path

from app.errors import Conflict, NoRoom

LOCK = "survey.lock"


class InUse(Conflict):
    """Another process works on the survey."""

    title = "Survey in use"


def lock_of(folder: Path) -> int:
    """A descriptor that holds ``folder``, which is made, until it is closed, also by the end of the process.

    Raises InUse if another process holds it, NoRoom if the folder cannot be written.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _unwritten(folder, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.uname().nodename}, process {os.getpid()}".encode(), 0)
    except BlockingIOError:
        owner = os.pread(lock, 100, 0).decode(errors="replace").strip()
        os.close(lock)
        raise InUse(f"{folder}: another process ({owner or 'unknown'}) works on this survey.") from None
    except OSError as error:
        os.close(lock)
        raise _unwritten(path, error) from error
    return lock


def _unwritten(path: Path, error: OSError) -> NoRoom:
    return NoRoom(f"{path} cannot be written: {error.strerror or error}.")
