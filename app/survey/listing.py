"""The files that a path, a folder or a glob names, here or on a store or web server."""

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.clouds.catalog import IN_FOLDERS, SUFFIXES
from app.errors import BadRequest
from app.survey import remote
from app.survey.tile import Stat

OF_ANSWERS = ("survey.db", "survey-job.json")  # a folder that holds one holds the answers of a survey
SCENE = "coord.npy"  # a folder that holds one is a scene as Pointcept stores it
SCENE_ERROR = "A scene as a folder of .npy files is not read in a survey: put each into a zip."
_MAGIC, _WEB_MAGIC = re.compile(r"[*?[]"), re.compile(r"[*[]")  # on the web a question mark begins the query
_ENDING = re.compile(r"\.\w+$")


@dataclass(frozen=True, slots=True)
class Found:
    """A file: its name below what was searched, its path, what a listing said of it, and why it is no tile, if so."""

    name: str
    path: str
    known: Stat | None = None
    error: str = ""


def found_by(text: str, out: str | None) -> Iterator[Found]:
    """The clouds that ``text`` names, a path or URL of a file or folder, or a glob; without those below ``out``.

    A file is taken as it is. A folder gives its files that end in one of ``IN_FOLDERS``; so does a glob, unless it says
    an ending itself. Paths are real ones: links are followed. Raises BadRequest if there is no such file here.
    """
    scheme = remote.scheme(text)
    if scheme:
        skipped = out if out and remote.scheme(out) else ""
        found = _on_store(text, scheme)
        yield from (each for each in found if not skipped or not remote.is_below(each.path, skipped))
        return
    skipped = os.path.realpath(out) if out and not remote.scheme(out) else ""
    if os.path.isdir(text):
        yield from _below(text, skipped)
    elif os.path.exists(text):
        yield from _outside([Found(os.path.basename(text), os.path.realpath(text))], skipped)
    elif _MAGIC.search(text):
        yield from _by_glob(text, skipped)
    else:
        raise BadRequest(f"{text} does not exist.")


def _outside(found: list[Found], skipped: str) -> Iterator[Found]:
    return (each for each in found if not skipped or not each.path.startswith(skipped + os.sep))


def _below(root: str, skipped: str) -> Iterator[Found]:
    """The clouds in a folder, at any depth, by name; folders are visited once, whatever links lead to them."""
    waiting = [("", os.path.realpath(root))]
    seen: set[str] = set()
    while waiting:
        place, folder = waiting.pop()
        if folder in seen or folder == skipped:
            continue
        seen.add(folder)
        with os.scandir(folder) as entries:
            listed = sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)
        names = {entry.name for entry in listed}
        if place and not names.isdisjoint(OF_ANSWERS):
            continue
        if SCENE in names:
            yield Found(place.rstrip("/") or os.path.basename(folder), folder, error=SCENE_ERROR)
        folders = []
        for entry in listed:
            path = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
            if entry.is_dir():
                folders.append((f"{place}{entry.name}/", path))
            elif entry.name.lower().endswith(IN_FOLDERS) and not (SCENE in names and entry.name.endswith(".npy")):
                yield Found(place + entry.name, path)
        waiting += reversed(folders)


def _by_glob(text: str, skipped: str) -> Iterator[Found]:
    magic = _MAGIC.search(text)
    root = os.path.dirname(text[: magic.start()]) if magic else ""
    holds_answers: dict[str, bool] = {}
    for path in sorted(glob.iglob(text, recursive=True)):
        name = os.path.relpath(path, root or os.curdir)
        if os.path.isdir(path) or is_hidden(os.path.basename(name)) or not _is_taken(name, text):
            continue
        folder = os.path.dirname(name)
        if folder not in holds_answers:
            above = [folder[: match.start()] for match in re.finditer("/|$", folder)] if folder else []
            marks = (os.path.join(root, each, mark) for each in above for mark in OF_ANSWERS)
            holds_answers[folder] = any(map(os.path.exists, marks))
        if not holds_answers[folder]:
            yield from _outside([Found(name, os.path.realpath(path))], skipped)


def _on_store(text: str, scheme: str) -> Iterator[Found]:
    is_web = scheme in remote.WEB
    shown = remote.shown(text)
    magic = (_WEB_MAGIC if is_web else _MAGIC).search(shown)
    if not magic and not shown.endswith("/") and (is_web or shown.lower().endswith(SUFFIXES)):
        yield Found(shown.rpartition("/")[2], text)
        return
    root = text[: magic.start()].rpartition("/")[0] + "/" if magic else text.rstrip("/") + "/"
    for path, known in remote.listed(root, text if magic else None):
        name = path[len(root) :]
        if not any(is_hidden(part) for part in name.split("/")) and _is_taken(name, text if magic else ""):
            yield Found(name, path, known)


def _is_taken(name: str, text: str) -> bool:
    """Whether a glob ``text`` that matches ``name`` takes it; '' for a folder."""
    return name.lower().endswith(IN_FOLDERS) or bool(_ENDING.search(text.rpartition("/")[2]))


def is_hidden(name: str) -> bool:
    """Whether files of that name are nobody's data: hidden, or a program's own while it writes."""
    return name.startswith((".", "~$")) or name.endswith("~")
