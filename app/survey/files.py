"""Files of a survey, wherever they are: what they are, pieces of them, and the whole file behind a descriptor."""

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from stat import S_ISREG
from urllib.parse import unquote, urljoin, urlsplit

from app.engine.body import Body, Spool, Storage
from app.errors import BadCloud, BadRequest, Forbidden, NotFound, NotReady
from app.survey import remote
from app.survey.tile import Stat, Tile

CHANGED = "It changed while the survey ran."


def folder_of(path: str) -> str:
    """The folder that a file is in, a real path or a URL, with a slash at its end."""
    if remote.scheme(path):
        return remote.shown(path).rpartition("/")[0] + "/"
    return os.path.join(os.path.dirname(os.path.realpath(path)), "")


def joined(folder: str, text: str) -> str:
    """What ``text`` means to a file in ``folder``; BadRequest if the folder is remote and it means a file here."""
    if text.lower().startswith("file://"):
        if remote.scheme(folder):
            raise BadRequest(f"{text}: a list on a store or web server cannot name files of this machine.")
        return unquote(urlsplit(text).path)
    if remote.scheme_or_none(text):
        return text
    if not remote.scheme(folder):
        return os.path.join(folder, text)
    scheme, _, key = folder.partition("://")
    if scheme in remote.WEB:
        return urljoin(folder, text)
    return f"{scheme}://" + posixpath.normpath(posixpath.join(key, text.lstrip("/")))


def stat(path: str) -> Stat:
    """Size and version of a file; a Problem if it cannot be read."""
    if remote.scheme(path):
        return remote.stat(path)
    with _local(path):
        return _stat(os.stat(path))


def piece(path: str, start: int, end: int, known: Stat | None = None) -> tuple[bytes, Stat]:
    """Bytes from ``start`` to ``end`` of a file, or to its end, and what it is; a Problem if it cannot be read.

    ``known`` is what a store said of it before, which saves a request.
    """
    if remote.scheme(path):
        return remote.piece(path, start, end, known)
    with _local(path):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = _stat(os.fstat(file))
            return os.pread(file, max(0, min(end, found.num_bytes) - start), start), found
        finally:
            os.close(file)


@contextmanager
def open_local(tile: Tile, storage: Storage | None = None) -> Iterator[Body]:
    """The file of ``tile`` behind a descriptor of this machine, until the context ends.

    A local file is opened where it is. A remote one is loaded into a file without a name, in memory or on disk as
    ``storage`` says, by default on disk. Raises BadCloud if the file is not as it was when the survey was planned, and
    other Problems if it cannot be read or there is no room for it.
    """
    with _loaded(tile, storage or Storage(0)) if remote.scheme(tile.path) else _opened(tile) as body:
        yield body


def check_version(tile: Tile, now: Stat | None = None) -> None:
    """Raise BadCloud if the file of ``tile`` is not as it was when the survey was planned, or a Problem if it is gone.

    ``now`` is what it is, if that is known already.
    """
    if (now or stat(tile.path)).version != tile.version:
        raise BadCloud(CHANGED)


def _opened(tile: Tile) -> Body:
    with _local(tile.path):
        body = Body(os.open(tile.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        now = _stat(os.fstat(body.fd))
        check_version(tile, now)
        body.size = now.num_bytes
        return body
    except BaseException:
        body.close()
        raise


def _loaded(tile: Tile, storage: Storage) -> Body:
    with Spool(storage) as spool:
        for block, now in remote.blocks(tile.path):
            check_version(tile, now)
            spool.write(block)
        return spool.take()


def _stat(found: os.stat_result) -> Stat:
    if not S_ISREG(found.st_mode):
        raise NotFound("It is no file.")
    return Stat(found.st_size, f"{found.st_size}-{found.st_mtime_ns}")


@contextmanager
def _local(path: str) -> Iterator[None]:
    """Turns what the operating system says of ``path`` into a Problem."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist.") from None
    except PermissionError:
        raise Forbidden(f"{path} may not be read.") from None
    except OSError as error:
        raise NotReady(f"{path} cannot be read: {error.strerror}.") from error
