"""Files of labels and files of truth that belong together, by their names."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.clouds.catalog import FORMATS, IN_FOLDERS
from app.errors import BadRequest

ENDINGS = tuple(suffix for each in FORMATS.values() for suffix in each.suffixes)  # .copc.laz, too


@dataclass(frozen=True)
class Partners:
    """Two files of the same points, and the name that both have below their folders."""

    name: str
    predicted: Path
    truth: Path


def partners(predicted: Path, truth: Path, pattern: str = "{stem}") -> tuple[list[Partners], dict[str, str]]:
    """The partners in two folders, at any depth, or two files as one; and what is wrong with files that have none, by
    their names.

    Partners have the same path below their folders but for the ending; if there is none, the same name, if that is
    the only one. ``pattern`` makes the stem of a predicted file of that of the true one.

    Raises:
        BadRequest: a path does not exist, or one is a file and the other a folder.
    """
    for path in (predicted, truth):
        if not path.exists():
            raise BadRequest(f"{path} does not exist.")
    if predicted.is_dir() != truth.is_dir():
        kinds = ("a folder", "a file") if predicted.is_dir() else ("a file", "a folder")
        raise BadRequest(f"{predicted} is {kinds[0]} and {truth} {kinds[1]}: give two files, or two folders.")
    if not truth.is_dir():
        return [Partners(truth.name, predicted, truth)], {}
    problems: dict[str, str] = {}
    given, wanted = _by_stem(predicted, "PRED", problems, truth), _by_stem(truth, "TRUTH", problems, predicted)
    lone: dict[str, list[Path]] = {}
    for stem, path in given.items():
        lone.setdefault(stem.rpartition("/")[2], []).append(path)
    found = []
    for stem, path in wanted.items():
        folder, slash, name = stem.rpartition("/")
        answer = pattern.format(stem=name)
        others = lone.get(answer, [])
        partner = given.get(f"{folder}{slash}{answer}") or (others[0] if len(others) == 1 else None)
        if partner is None:
            problems[str(path)] = f"PRED has no file {folder}{slash}{answer}, with any ending that is read."
        else:
            found.append(Partners(path.relative_to(truth).as_posix(), partner, path))
    taken = [each.predicted for each in found]
    problems |= {str(path): "TRUTH has no file of that name." for path in given.values() if path not in taken}
    return found, problems


def _by_stem(folder: Path, side: str, problems: dict[str, str], other: Path) -> dict[str, Path]:
    """Clouds below ``folder`` by path without ending, but for those of the ``other`` folder in it; the second of two is
    a problem."""
    found: dict[str, Path] = {}
    is_within = folder.resolve() in other.resolve().parents
    for path in _clouds(folder):
        if is_within and other.resolve() in path.resolve().parents:
            continue
        name = path.relative_to(folder).as_posix()
        stem = name[: -max(len(ending) for ending in ENDINGS if name.lower().endswith(ending))]
        if stem in found:
            problems[str(path)] = f"{side} has {found[stem].name} of that name, too, which was taken."
        else:
            found[stem] = path
    if not found:
        raise BadRequest(f"There is no cloud in the folder {folder}; expected files ending in {', '.join(IN_FOLDERS)}.")
    return found


def _clouds(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.name.lower().endswith(IN_FOLDERS) and not hidden and path.is_file():
            yield path
