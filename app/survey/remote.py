"""Files on object stores and web servers, through fsspec: what they are, pieces of them, all of them, and new ones.

fsspec's own configuration (files under ``~/.config/fsspec``, ``FSSPEC_…`` variables) says what keys and endpoints to
use. Stores try failed requests again by themselves; for web servers that is done here.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from app.errors import BadRequest, Forbidden, NoRoom, NotFound, NotOffered, NotReady, Problem
from app.survey.tile import Stat

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "https": "https", "http": "https"}
WEB = ("http", "https")
S3_CONNECTIONS = 64
MEDIA_TYPE = {"s3": "ContentType", "gs": "content_type"}  # what fsspec's classes call it
BLOCK_BYTES = 32 << 20
MISSING = "pip install 'pointserve[{extra}]' makes it possible"
_WEB_OPTIONS: dict[str, Any] = {}  # of every request to a web server
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def refuse_redirects() -> None:
    """From now on this process follows no web server to another address than the one that was asked for."""
    _WEB_OPTIONS["allow_redirects"] = False


def scheme(path: str) -> str:
    """That of a URL, in lower case; '' for a path of this machine. Raises BadRequest for one that is not read."""
    found = scheme_or_none(path)
    if found and found not in EXTRAS:
        raise BadRequest(
            f"{shown(path)}: files are read from paths and from {', '.join(f'{name}://' for name in EXTRAS)}."
        )
    return found


def scheme_or_none(path: str) -> str:
    """That of a URL, whether it is read or not."""
    match = _URL.match(path)
    return match[1].lower() if match else ""


def shown(path: str) -> str:
    """``path`` for messages and names: a URL of the web without its query, which may hold keys."""
    return path.split("?")[0] if scheme_or_none(path) in WEB else path


def is_below(path: str, folder: str) -> bool:
    """Whether the URL ``path`` lies below the URL ``folder``, which has no slash at its end."""
    return _place(path).startswith(f"{_place(folder)}/")


def _place(path: str) -> str:
    """A URL with the first of the names that its scheme has."""
    return f"{EXTRAS[scheme(path)]}://{path.partition('://')[2]}"


def filesystem(path: str) -> Any:
    """That of fsspec for a URL. It remembers no listings, because files may change while a survey runs."""
    import fsspec
    from fsspec.config import conf

    name = scheme(path)
    options: dict[str, Any] = {"use_listings_cache": False, **(_WEB_OPTIONS if name in WEB else {})}
    if EXTRAS[name] == "s3":
        options["config_kwargs"] = {
            "max_pool_connections": S3_CONNECTIONS,
            **conf.get(name, {}).get("config_kwargs", {}),
        }
    try:
        return fsspec.filesystem(name, **options)
    except ImportError as error:
        raise BadRequest(f"{name}:// is not read here ({error}): {MISSING.format(extra=EXTRAS[name])}.") from None


def listed(root: str, glob: str | None = None) -> Iterator[tuple[str, Stat | None]]:
    """The URL of every file below the folder ``root``, and what the listing says of it, by name.

    With ``glob`` those that match it. A Problem if there is no listing.
    """
    if scheme(root) in WEB:
        from app.survey import web

        yield from ((url, None) for url in _asked(root, lambda: web.links_below(filesystem(root), root, glob)))
        return
    files = filesystem(root)
    found = _asked(root, lambda: files.glob(glob, detail=True) if glob else files.find(root, detail=True))
    for path, info in sorted(found.items()):
        if info["type"] == "file":
            yield f"{scheme(root)}://{path}", stat_of(info)


def stat(path: str) -> Stat:
    """Size and version of the file of a URL; a Problem if that cannot be had."""
    if scheme(path) in WEB:
        return piece(path, 0, 1)[1]
    return stat_of(_asked(path, lambda: filesystem(path).info(path)))


def stat_of(info: dict[str, Any]) -> Stat:
    """What fsspec tells of a file of a store."""
    mark = next((str(info[key]).strip('"') for key in ("ETag", "etag", "generation", "md5Hash") if info.get(key)), "")
    changed = str(info.get("LastModified") or info.get("updated") or "")
    size = int(info["size"] or 0)
    return Stat(size, f"{size}-{mark or changed}")


def piece(path: str, start: int, end: int, known: Stat | None = None) -> tuple[bytes, Stat]:
    """Bytes from ``start`` to ``end``, or to the end of the file, and what it is; a Problem if they cannot be had."""
    if scheme(path) in WEB:
        from app.survey import web

        return _asked(path, lambda: web.piece(filesystem(path), path, start, end))
    found = known or stat(path)
    end = min(end, found.num_bytes)
    if start >= end:
        return b"", found
    data: bytes = _asked(path, lambda: filesystem(path).cat_file(path, start=start, end=end))
    return data, found


def blocks(path: str) -> Iterator[tuple[bytes, Stat]]:
    """The whole file, block by block, and with each what the file is; a Problem if it cannot be had or ends early."""
    found, done = None, 0
    while found is None or done < found.num_bytes:
        block, found = piece(path, done, done + BLOCK_BYTES, found)
        done += len(block)
        if not block and done < found.num_bytes:
            raise NotReady(f"{shown(path)} ended after {done:,} of {found.num_bytes:,} bytes.")
        yield block, found


def upload(path: str, chunks: Iterable[bytes], check: Callable[[], None], media_type: str) -> Stat:
    """Write ``chunks`` as the object ``path`` of a store, whole or not at all; what it is then.

    It appears when its upload is completed, after ``check``, whose Problem ends the upload, as that of a chunk does.
    Raises NoRoom if the bucket is not there or may not be written, NotReady for what else fails.
    """
    try:
        # A file that is closed, or forgotten, is completed as it is then: one that fails must be discarded first.
        how = {MEDIA_TYPE[EXTRAS[scheme(path)]]: media_type}
        file = filesystem(path).open(path, "wb", block_size=BLOCK_BYTES, **how)
        try:
            for chunk in chunks:
                file.write(chunk)
            check()
            file.close()
        except BaseException:
            with suppress(Exception):
                file.discard()
            file.closed = True
            raise
    except Problem:
        raise
    except (FileNotFoundError, PermissionError) as error:
        raise NoRoom(f"{path} cannot be written: {_words(error)}.") from error
    except Exception as error:  # every store has exceptions of its own
        raise NotReady(f"{path} cannot be written: {_words(error)}.") from error
    return stat(path)


def remove(folder: str) -> None:
    """Remove all that is below a URL of an object store; raises a Problem if that cannot be done."""
    with suppress(NotFound):
        _asked(folder, lambda: filesystem(folder).rm(folder, recursive=True))


def link(path: str, valid_s: float) -> str:
    """An address by which anyone can read the file of a URL for ``valid_s``; NotOffered if none can be signed."""
    try:
        return str(filesystem(path).sign(path, expiration=int(valid_s)))
    except Exception as error:  # every store has exceptions of its own
        raise NotOffered(
            f"The answers are in {path.rpartition('/')[0]}/, and no links to them can be signed ({_words(error)}). The "
            "operator needs a store that has such links, and credentials that can sign (POINTSERVE_JOBS_STORE)."
        ) from error


def _asked(path: str, call: Any) -> Any:
    """What ``call`` returns; whatever a store, a server or a network raises becomes a Problem that names the file."""
    try:
        return call()
    except Problem:
        raise
    except FileNotFoundError:
        raise NotFound(f"{shown(path)} does not exist.") from None
    except PermissionError as error:
        raise Forbidden(f"{shown(path)} may not be read: {_words(error)}.") from error
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise NotReady(f"{shown(path)}: no answer in time.") from error
    except Exception as error:  # every store has exceptions of its own
        status = getattr(error, "status", 0)
        kind = Forbidden if status in (401, 403) else NotReady
        raise kind(f"{shown(path)} cannot be read: {_words(error)}.") from error


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split()).split(", url=")[0].rstrip(".")
    return f"{type(error).__name__}: {text:.300}" if text else type(error).__name__
