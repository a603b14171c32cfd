"""Which files and URLs a client may name as sources: those under roots and prefixes that the operator allowed."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from app.errors import BadRequest, Forbidden, quoted
from app.survey import remote
from app.survey.lists import VPC_SUFFIX
from app.survey.sources import LIST_MARK
from app.survey.tile import Source

HOW = "Its operator names folders in POINTSERVE_JOBS_ROOTS and beginnings of URLs in POINTSERVE_JOBS_URLS."
PORTS = {"http": 80, "https": 443}
_GLOB = re.compile(r"[*?[]")
_HIDDEN = re.compile(r"[\x00-\x20\x7f\\]|::|%(?:2e|2f|5c)", re.IGNORECASE)  # of URLs: what parsers disagree about
_SEPARATOR = re.compile(r"[/?#]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Allowed:
    """The roots and prefixes of one service; a root is a real path, whatever links led to it."""

    def __init__(self, roots: str, urls: str):
        """``roots`` are joined by ':', ``urls`` by ','."""
        self._roots = [Path(os.path.realpath(root)) for root in roots.split(":") if root.strip()]
        self._urls = [urlsplit(url.strip()) for url in urls.split(",") if url.strip()]

    def check_source(self, text: str) -> None:
        """Raise Forbidden unless ``text``, a file, a folder or a glob, is below a root or a prefix, BadRequest if it is
        no such thing."""
        if text.startswith(LIST_MARK) or remote.shown(text).lower().endswith(VPC_SUFFIX):
            raise BadRequest(f"{quoted(text)}: a job takes files, folders and globs, no lists of them.")
        if remote.scheme_or_none(text):
            self._check_url(text)
            return
        if not text.startswith("/") or _CONTROL.search(text):
            raise BadRequest(f"{quoted(text)} is no source: give absolute paths of this server, or URLs.")
        glob = _GLOB.search(text)
        fixed = text[: glob.start()].rpartition("/")[0] if glob else text
        if ".." in text.split("/") or not self._is_below_root(fixed or "/"):
            raise _forbidden(text)

    def checked(self, found: Iterable[Source]) -> Iterator[Source]:
        """``found``, each looked at before anything of it is read; raises Forbidden for one that is elsewhere."""
        for source in found:
            if remote.scheme_or_none(source.path):
                self._check_url(source.path)
            elif not self._is_below_root(source.path):
                raise Forbidden(f"{source.name} is a link to a place that this server may not read for jobs. {HOW}")
            yield source

    def _is_below_root(self, path: str) -> bool:
        real = Path(os.path.realpath(path))
        return any(real == root or root in real.parents for root in self._roots)

    def _check_url(self, url: str) -> None:
        parts = urlsplit(url)
        is_clear = "@" not in parts.netloc and not _HIDDEN.search(url) and not {".", ".."} & {*_SEPARATOR.split(url)}
        try:
            is_allowed = is_clear and any(_begins_with(parts, prefix) for prefix in self._urls)
        except ValueError:  # a port that is no number
            is_allowed = False
        if not is_allowed:
            raise _forbidden(remote.shown(url))


def _begins_with(url: SplitResult, prefix: SplitResult) -> bool:
    """Whether scheme, host and port are the same, and the path is below that of the prefix."""
    is_same = (url.scheme, url.hostname) == (prefix.scheme, prefix.hostname)
    if not is_same or _port(url) != _port(prefix):
        return False
    folder = prefix.path.rstrip("/") + "/"
    return url.path == prefix.path or url.path.startswith(folder) or folder == "/"


def _port(url: SplitResult) -> int | None:
    return url.port or PORTS.get(url.scheme)


def _forbidden(text: str) -> Forbidden:
    return Forbidden(f"{quoted(text, 200)} is in no place that this server reads for jobs. {HOW}")
