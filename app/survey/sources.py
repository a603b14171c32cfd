"""What a survey is made of: files, folders, globs, lists, virtual point clouds and URLs become one source a file."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from urllib.parse import unquote

from app.clouds.catalog import IN_FOLDERS, SUFFIXES
from app.errors import BadRequest, Problem, quoted
from app.survey import files, lists, remote
from app.survey.listing import Found, found_by
from app.survey.tile import Source

LIST_MARK = "@"
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f]")


def find(given: Sequence[str], out: str | None = None, buffer_only: Sequence[str] = ()) -> Iterator[Source]:
    """Every file of the sources ``given``, each once, under a name of its own, in the order in which they were given.

    A source is a file, a folder (read at any depth), a glob (``**`` for folders at any depth), ``@list.txt`` with a
    source a line, a ``.vpc``, or the URL of such. Hidden files, those below ``out``, and the answers of other surveys
    in a folder are left out. Files that ``buffer_only``, globs of names or paths, match give context only.

    Raises:
        BadRequest: a source that does not exist or holds no cloud, or a glob of ``buffer_only`` that matches none.
        Problem: a list or a virtual point cloud cannot be read.
    """
    paths: set[str] = set()
    names: dict[str, int] = {}
    unused = set(buffer_only)
    for text in given:
        is_empty = True
        for found in _files_of(text, out):
            is_empty = False
            if found.path in paths:
                continue
            paths.add(found.path)
            wanted = _safe(found)
            matched = {pattern for pattern in buffer_only if _matches(wanted, found.path, pattern)}
            unused -= matched
            yield _storable(Source(unique(wanted, names), found.path, bool(matched), found.known, found.error))
        if is_empty:
            raise BadRequest(
                f"{text}: there is no cloud. Folders are searched for files ending in {', '.join(IN_FOLDERS)}; others "
                "are named one by one, by a glob such as 'DIR/*.txt', or in a list, @LIST. Hidden files, and those in "
                "OUT, are left out."
            )
    if unused:
        raise BadRequest(f"--buffer-only {quoted(min(unused))} matches no file of the survey.")


def _files_of(text: str, out: str | None) -> Iterator[Found]:
    if text.startswith(LIST_MARK):
        path = text[len(LIST_MARK) :]
        yield from _members(path, lists.lines(path), out)
    elif remote.shown(text).lower().endswith(lists.VPC_SUFFIX):
        yield from _members(text, lists.hrefs(text), out)
    else:
        yield from found_by(text, out)


def _members(path: str, texts: list[str], out: str | None) -> Iterator[Found]:
    """The files that ``path``, a list or a virtual point cloud, names, seen from its folder.

    What cannot be found is one file with an error, for the others to go on.
    """
    base = files.folder_of(path)
    for text in texts:
        path = text
        try:
            path = files.joined(base, text)
            if text.startswith(LIST_MARK) or remote.shown(text).lower().endswith(lists.VPC_SUFFIX):
                raise BadRequest(f"{text}: a list cannot name further lists; give them as sources of their own.")
            members = list(found_by(path, out)) or [Found("", path, error=f"{text}: there is no cloud.")]
        except Problem as problem:
            members = [Found("", path, error=problem.detail)]
        for found in members:
            is_below = found.path.startswith(base)
            yield replace(found, name=found.path[len(base) :] if is_below else found.name or text)


def _safe(found: Found) -> str:
    """The name of a file as a path that stays below the folder it is appended to."""
    is_web = remote.scheme_or_none(found.path) in remote.WEB
    name = unquote(found.name.split("?")[0]) if is_web else found.name
    parts = [part for part in _UNSHOWN.sub("_", name).split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "tile"


def unique(name: str, names: dict[str, int]) -> str:
    """``name``, or that with a number before its suffix if it is in ``names``, which count how often each came."""
    suffix = next(
        (each for each in (".copc.laz", *SUFFIXES) if name.lower().endswith(each)), PurePosixPath(name).suffix
    )
    stem = name[: len(name) - len(suffix)]
    unique = name
    while unique in names:
        names[name] += 1
        unique = f"{stem}-{names[name]}{name[len(stem) :]}"
    names[unique] = 1
    return unique


def _matches(name: str, path: str, pattern: str) -> bool:
    pattern += "*" if pattern.endswith("/") else ""
    return any(fnmatchcase(text, pattern) for text in (name, name.rpartition("/")[2], path))


def _storable(source: Source) -> Source:
    """``source``, in characters that can be written down; with an error if its path cannot."""
    try:
        (source.name + source.path).encode()
    except UnicodeEncodeError:
        name, path = (text.encode("utf-8", "replace").decode() for text in (source.name, source.path))
        return replace(source, name=name, path=path, error="The name of the file is not UTF-8: rename it.")
    return source
