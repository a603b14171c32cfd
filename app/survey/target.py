"""Where the answers of a survey go: a folder of this machine, or a prefix of an object store. Files appear whole."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import uuid4

from app.clouds import catalog
from app.errors import SHORT, BadRequest, Conflict, NoRoom, NotReady
from app.survey import remote

BESIDE = {".html": "text/html; charset=utf-8", ".vpc": "application/geo+json"}
"""Media types of what is beside the answers."""
TAKEN = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR)  # a file is where a folder should be, or a folder where a file
BLOCK_BYTES = 1 << 22


def media_type(name: str) -> str:
    """That of a file of a survey: an answer, ``report.html`` or ``survey.vpc``."""
    format = catalog.written_as(name)
    if format:
        return catalog.WRITERS[format].media_type
    return BESIDE.get(PurePosixPath(name).suffix, "application/octet-stream")


def unchecked() -> None:
    """Lets every file appear."""


def absolute(out: str) -> str:
    """The target ``out`` as an absolute path or a URL, without a slash at its end; BadRequest if it cannot be one."""
    scheme = remote.scheme(out)
    if not scheme:
        return os.path.abspath(out)
    if scheme in remote.WEB:
        raise BadRequest(f"{remote.shown(out)}: answers go to a folder or to an object store, not to a web server.")
    found = out.rstrip("/")
    if not remote.scheme_or_none(found):
        raise BadRequest(f"{out}: the name of a bucket is missing.")
    return found


@dataclass(frozen=True)
class Written:
    """A file that was written: its size, its SHA-256, and on an object store its version as ``files.stat`` has it."""

    num_bytes: int
    sha256: str
    version: str = ""


def write(
    path: str,
    chunks: Iterable[bytes],
    partial: str = "",
    check: Callable[[], None] = unchecked,
    *,
    is_passing: bool = False,
) -> Written:
    """Write ``chunks`` to ``path``, an absolute path or a URL, whole or not at all; what is there now.

    What ``check`` raises before the file appears keeps it from that. A file of this machine is written into the folder
    ``partial``, of the same file system, by default into its own, and then renamed. An object store shows an upload
    once it is complete. What is ``is_passing`` need not be on the disk before it appears.

    Raises NoRoom if it cannot be written, NotReady if that may be otherwise in a moment, Conflict if a file would
    have to be a folder, too.
    """
    counted = _Counted(chunks)
    if remote.scheme(path):
        stat = remote.upload(path, counted, check, media_type(path))
        if stat.num_bytes != counted.num_bytes:
            raise NotReady(f"{path} has {stat.num_bytes:,} bytes after {counted.num_bytes:,} were written.")
        return Written(counted.num_bytes, counted.digest.hexdigest(), stat.version)
    how = Path(path), Path(partial or Path(path).parent), check
    with appearing(*how, is_passing=is_passing) as fd, open(fd, "wb", closefd=False) as file:
        file.writelines(counted)
    return Written(counted.num_bytes, counted.digest.hexdigest())


def place(path: str, source: Path, check: Callable[[], None] = unchecked) -> Written:
    """Have the file ``source`` appear as ``path``, as ``write`` does: renamed in this machine, where both are on one
    file system, or uploaded."""
    if remote.scheme(path):
        return write(path, _blocks(source), check=check)
    counted = _Counted(_blocks(source))
    for _ in counted:
        pass
    target = Path(path)
    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as file:
            os.fsync(file.fileno())
        check()
        source.replace(target)
    return Written(counted.num_bytes, counted.digest.hexdigest())


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


class _Counted:
    """``chunks``, and the size and digest of those that were taken."""

    def __init__(self, chunks: Iterable[bytes]):
        self.num_bytes = 0
        self.digest = hashlib.sha256()
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.digest.update(chunk)
            self.num_bytes += len(chunk)
            yield chunk


@contextmanager
def appearing(
    target: Path, folder: Path, check: Callable[[], None] = unchecked, *, is_passing: bool = False
) -> Iterator[int]:
    """The descriptor of an empty file, to be written, which is ``target`` at the end of the context, as ``write`` says.

    OSErrors of who writes it become what ``write`` raises, too.
    """
    part = folder / f".{uuid4().hex}"
    with explained(target):
        folder.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                yield file.fileno()
                if not is_passing:
                    os.fsync(file.fileno())
            check()
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def explained(target: Path) -> Iterator[None]:
    """Turns what the operating system says of ``target`` into a Problem."""
    try:
        yield
    except OSError as error:
        kind = NotReady if error.errno in SHORT else Conflict if error.errno in TAKEN else NoRoom
        raise kind(f"{target} cannot be written: {error.strerror or error}.") from error
